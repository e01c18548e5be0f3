#include "graft/models/decoder.h"

#include <algorithm>

#include "graft/autograd/checkpoint.h"
#include "graft/models/family.h"
#include "graft/models/rope_config.h"
#include "graft/tensor/check.h"

namespace graft::models {
namespace {

/// How long texts may be: what the rotary embedding with the shortest reach allows.
int64_t positions_of(const DecoderConfig& config) {
  int64_t positions = size_limits.max;
  for (const nn::RopeConfig& rope : config.ropes)
    positions = std::min(positions, reachable_positions(rope));
  return positions;
}

int64_t cache_renewal_of(const DecoderConfig& config) {
  const bool renews = config.family->design.renews_cache && !config.ropes.empty() &&
                      config.ropes[0].kind == nn::RopeKind::longrope;
  return renews ? config.ropes[0].original_positions : 0;
}

nn::ModelInfo info_of(const DecoderConfig& config, std::string name_or_path, DType dtype) {
  return {.model_type = std::string(config.family->model_type),
          .architecture = std::string(config.family->architecture),
          .python_module = python_module_of(*config.family),
          .name_or_path = std::move(name_or_path),
          .vocab_size = config.vocab_size,
          .hidden_size = config.hidden_size,
          .layers = config.layers,
          .heads = config.heads,
          .kv_heads = config.kv_heads,
          .head_dim = config.head_dim,
          .intermediate_size = config.intermediate_size,
          .max_positions = positions_of(config),
          .cache_renewal = cache_renewal_of(config),
          .tied_head = config.tied_head,
          .dtype = dtype,
          .bos_token_id = config.bos_token_id,
          .pad_token_id = config.pad_token_id,
          .eos_token_ids = config.eos_token_ids,
          .config_json = to_config_json(config)};
}

std::unique_ptr<nn::LinearLike> make_head(const DecoderConfig& config, const DecoderStack& model) {
  if (config.tied_head)
    return std::make_unique<nn::Linear>(model.embedding_weight());
  return nn::make_linear(config.hidden_size, config.vocab_size);
}

}  // namespace

DecoderStack::DecoderStack(const DecoderConfig& config)
    : rotaries_(config.ropes.begin(), config.ropes.end()),
      embed_tokens_(*this, "embed_tokens",
                    std::make_unique<nn::Embedding>(config.vocab_size, config.hidden_size)),
      layers_(
          *this, "layers", config.layers,
          [&](int64_t i) { return std::make_unique<nn::DecoderLayer>(config.layer_config(i), i); }),
      norm_(*this, "norm", nn::make_norm(config.hidden_size, {.eps = config.norm_eps})) {}

Variable DecoderStack::forward(const Tensor& ids, const nn::Context& context) const {
  check_dtype("forward", "ids", ids, DType::i64);
  GRAFT_CHECK(ids.rank() == 2, ShapeError, "forward: ids are ", ids.shape(), ", (B,T) expected");
  Variable x = embed_tokens_->forward(ids, context);
  const nn::Placement placement = nn::place(rotaries_, ids.dim(0), ids.dim(1), x.dtype(), context);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const nn::DecoderLayer& layer = layers_[i];
    if (context.checkpoint_blocks && context.cache == nullptr)
      x = checkpoint(
          [&layer, placement, context](const Variable& input) {
            return layer.forward(input, placement, context);
          },
          x);
    else
      x = layer.forward(x, placement, context);
  }
  return norm_->forward(x);
}

Decoder::Decoder(const DecoderConfig& config, std::string name_or_path, DType dtype)
    : info_(info_of(config, std::move(name_or_path), dtype)),
      model_(*this, "model", std::make_unique<DecoderStack>(config)),
      lm_head_(*this, "lm_head", make_head(config, *model_)) {}

}  // namespace graft::models
