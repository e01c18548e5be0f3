#include "graft/nn/attention.h"

#include <cmath>

#include "graft/autograd/attention.h"
#include "graft/autograd/pointwise.h"
#include "graft/autograd/rope.h"
#include "graft/nn/kv_cache.h"

namespace graft::nn {
namespace {

const AttentionConfig& checked(const AttentionConfig& config) {
  GRAFT_CHECK(config.kv_heads > 0 && config.heads % config.kv_heads == 0, ConfigError,
              "attention: ", config.heads, " query heads for ", config.kv_heads,
              " key heads, a multiple expected");
  return config;
}

}  // namespace

Attention::Attention(const AttentionConfig& config, int64_t layer)
    : config_(checked(config)),
      layer_(layer),
      q_proj_(*this, "q_proj",
              make_linear(config.hidden_size, config.heads * config.head_dim, config.qkv_bias)),
      k_proj_(*this, "k_proj",
              make_linear(config.hidden_size, config.kv_heads * config.head_dim, config.qkv_bias)),
      v_proj_(*this, "v_proj",
              make_linear(config.hidden_size, config.kv_heads * config.head_dim, config.qkv_bias)),
      o_proj_(*this, "o_proj",
              make_linear(config.heads * config.head_dim, config.hidden_size, config.o_bias)) {}

Variable Attention::forward(const Variable& x, const Placement& placement,
                            const Context& context) const {
  const int64_t batch = x.shape()[0];
  const int64_t length = x.shape()[1];
  const auto heads = [&](const LinearLike& projection, int64_t count) {
    return view(projection.forward(x, context), {batch, length, count, config_.head_dim});
  };
  const Variable q = rope(heads(*q_proj_, config_.heads), placement.rope);
  Variable k = rope(heads(*k_proj_, config_.kv_heads), placement.rope);
  Variable v = heads(*v_proj_, config_.kv_heads);
  if (context.cache != nullptr) {
    GRAFT_CHECK(!k.requires_grad() && !v.requires_grad(), Error,
                "attention: the cache keeps no gradients; run the forward under NoGrad");
    auto [keys, values] = context.cache->append(layer_, k.value(), v.value());
    k = Variable(std::move(keys));
    v = Variable(std::move(values));
  }
  const AttentionMask mask{placement.start, placement.segments, config_.window};
  const double scale = 1 / std::sqrt(static_cast<double>(config_.head_dim));
  const Variable mixed = scaled_dot_product_attention(q, k, v, mask, scale);
  return o_proj_->forward(view(mixed, {batch, length, config_.heads * config_.head_dim}), context);
}

}  // namespace graft::nn
