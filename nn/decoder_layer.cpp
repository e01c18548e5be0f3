#include "graft/nn/decoder_layer.h"

#include "graft/autograd/pointwise.h"

namespace graft::nn {

DecoderLayer::DecoderLayer(const DecoderLayerConfig& config, int64_t layer)
    : input_layernorm_(
          *this, "input_layernorm",
          std::make_unique<RmsNorm>(config.attention.hidden_size, config.rms_norm_eps)),
      self_attn_(*this, "self_attn", std::make_unique<Attention>(config.attention, layer)),
      post_attention_layernorm_(
          *this, "post_attention_layernorm",
          std::make_unique<RmsNorm>(config.attention.hidden_size, config.rms_norm_eps)),
      mlp_(*this, "mlp",
           std::make_unique<Mlp>(config.attention.hidden_size, config.intermediate_size,
                                 config.mlp_bias)) {}

Variable DecoderLayer::forward(const Variable& x, const Placement& placement,
                               const Context& context) const {
  const Variable mixed =
      add(x, self_attn_->forward(input_layernorm_->forward(x), placement, context));
  return add(mixed, mlp_->forward(post_attention_layernorm_->forward(mixed), context));
}

}  // namespace graft::nn
