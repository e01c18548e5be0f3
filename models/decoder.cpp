#include "graft/models/decoder.h"

#include "graft/autograd/pointwise.h"
#include "graft/models/family.h"
#include "graft/models/model_info.h"
#include "graft/nn/run_block.h"
#include "graft/tensor/check.h"

namespace graft::models {
namespace {

std::unique_ptr<nn::LinearLike> make_head(const DecoderConfig& config, const DecoderStack& model) {
  if (config.tied_head)
    return std::make_unique<nn::Linear>(model.embedding_weight());
  return nn::make_linear(config.hidden_size, config.vocab_size);
}

/// factor · x, the factor first rounded to x's dtype: the models were trained with that number.
Variable scaled(const Variable& x, double factor) {
  return factor == 1 ? x : scale(x, Tensor::full({}, factor, x.dtype()).item());
}

}  // namespace

DecoderStack::DecoderStack(const DecoderConfig& config)
    : rotaries_(config.ropes.begin(), config.ropes.end()),
      embedding_scale_(config.embedding_scale),
      embed_tokens_(*this, "embed_tokens",
                    std::make_unique<nn::Embedding>(config.vocab_size, config.hidden_size)),
      layers_(
          *this, "layers", config.layers,
          [&](int64_t i) { return std::make_unique<nn::DecoderLayer>(config.layer_config(i), i); }),
      norm_(*this, "norm", nn::make_norm(config.hidden_size, config.norm_config())) {}

Variable DecoderStack::forward(const Tensor& ids, const nn::Context& context) const {
  check_dtype("forward", "ids", ids, DType::i64);
  GRAFT_CHECK(ids.rank() == 2, ShapeError, "forward: ids are ", ids.shape(), ", (B,T) expected");
  Variable x = scaled(embed_tokens_->forward(ids, context), embedding_scale_);
  const nn::Placement placement = nn::place(rotaries_, ids.dim(0), ids.dim(1), x.dtype(), context);
  for (size_t i = 0; i < layers_.size(); ++i)
    x = nn::run_block(layers_[i], x, placement, context);
  return norm_->forward(x, context);
}

Decoder::Decoder(const DecoderConfig& config, std::string name_or_path, DType dtype)
    : info_(info_of(config, std::move(name_or_path), dtype)),
      model_(*this, "model", std::make_unique<DecoderStack>(config)),
      lm_head_(*this, "lm_head", make_head(config, *model_)) {}

}  // namespace graft::models
