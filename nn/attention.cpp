#include "graft/nn/attention.h"

#include <cmath>

#include "graft/autograd/attention.h"
#include "graft/autograd/pointwise.h"
#include "graft/autograd/rope.h"
#include "graft/autograd/split.h"
#include "graft/nn/kv_cache.h"

namespace graft::nn {
namespace {

const AttentionConfig& checked(const AttentionConfig& config) {
  GRAFT_CHECK(config.kv_heads > 0 && config.heads % config.kv_heads == 0, ConfigError,
              "attention: ", config.heads, " query heads for ", config.kv_heads,
              " key heads, a multiple expected");
  return config;
}

/// How many numbers of a token a norm of `heads` heads has in common.
int64_t norm_features(const AttentionConfig& config, int64_t heads) {
  return config.qk_norm == QueryKeyNorm::head ? config.head_dim : heads * config.head_dim;
}

}  // namespace

Variable attend(const QueryKeyValue& tokens, int64_t layer, int64_t window, double scale,
                const Placement& placement, const Context& context) {
  const AttentionMask mask{placement.start, placement.segments, window};
  if (context.cache == nullptr)
    return scaled_dot_product_attention(tokens.q, tokens.k, tokens.v, mask, scale);
  GRAFT_CHECK(!tokens.k.requires_grad() && !tokens.v.requires_grad(), Error,
              "attention: the cache keeps no gradients; run the forward under NoGrad");
  auto [keys, values] = context.cache->append(layer, tokens.k.value(), tokens.v.value());
  return scaled_dot_product_attention(tokens.q, Variable(std::move(keys)),
                                      Variable(std::move(values)), mask, scale);
}

Attention::Attention(const AttentionConfig& config, int64_t layer)
    : config_(checked(config)), layer_(layer) {
  const auto projection = [&](std::optional<Child<LinearLike>>& member, const char* name,
                              int64_t heads) {
    member.emplace(*this, name,
                   make_linear(config.hidden_size, heads * config.head_dim, config.qkv_bias));
  };
  if (config.fused_qkv) {
    projection(qkv_proj_, "qkv_proj", config.heads + 2 * config.kv_heads);
  } else {
    projection(q_proj_, "q_proj", config.heads);
    projection(k_proj_, "k_proj", config.kv_heads);
    projection(v_proj_, "v_proj", config.kv_heads);
  }
  o_proj_.emplace(*this, "o_proj",
                  make_linear(config.heads * config.head_dim, config.hidden_size, config.o_bias));
  if (config.qk_norm != QueryKeyNorm::none) {
    q_norm_.emplace(*this, "q_norm", make_norm(norm_features(config, config.heads), config.norm));
    k_norm_.emplace(*this, "k_norm",
                    make_norm(norm_features(config, config.kv_heads), config.norm));
  }
}

QueryKeyValue Attention::project(const Variable& x, const Context& context) const {
  const int64_t batch = x.shape()[0];
  const int64_t length = x.shape()[1];
  const auto as_heads = [&](const Variable& y, int64_t count) {
    return view(y, {batch, length, count, config_.head_dim});
  };
  if (qkv_proj_) {
    const std::vector<Variable> parts =
        split(as_heads((*qkv_proj_)->forward(x, context), config_.heads + 2 * config_.kv_heads), 2,
              {config_.heads, config_.kv_heads, config_.kv_heads});
    return {parts[0], parts[1], parts[2]};
  }
  Variable q = (*q_proj_)->forward(x, context);
  Variable k = (*k_proj_)->forward(x, context);
  if (config_.qk_norm == QueryKeyNorm::projection) {
    q = (*q_norm_)->forward(q, context);
    k = (*k_norm_)->forward(k, context);
  }
  return {as_heads(q, config_.heads), as_heads(k, config_.kv_heads),
          as_heads((*v_proj_)->forward(x, context), config_.kv_heads)};
}

Variable Attention::forward(const Variable& x, const Placement& placement,
                            const Context& context) const {
  QueryKeyValue tokens = project(x, context);
  if (config_.qk_norm == QueryKeyNorm::head) {
    tokens.q = (*q_norm_)->forward(tokens.q, context);
    tokens.k = (*k_norm_)->forward(tokens.k, context);
  }
  tokens.q = rope(tokens.q, placement.ropes.at(config_.rotary));
  tokens.k = rope(tokens.k, placement.ropes.at(config_.rotary));
  const double scale = config_.scale.value_or(1 / std::sqrt(static_cast<double>(config_.head_dim)));
  const Variable mixed = attend(tokens, layer_, config_.window, scale, placement, context);
  return (*o_proj_)->forward(
      view(mixed, {x.shape()[0], x.shape()[1], config_.heads * config_.head_dim}), context);
}

}  // namespace graft::nn
