#include "graft/nn/decoder_layer.h"

#include "graft/autograd/pointwise.h"

namespace graft::nn {
namespace {

Variable normed(const std::optional<Child<RmsNorm>>& norm, const Variable& x,
                const Context& context) {
  return norm ? (*norm)->forward(x, context) : x;
}

}  // namespace

DecoderLayer::DecoderLayer(const DecoderLayerConfig& config, int64_t layer)
    : self_attn_(*this, "self_attn", std::make_unique<Attention>(config.attention, layer)),
      mlp_(*this, "mlp", std::make_unique<Mlp>(config.mlp)) {
  const auto norm = [&](OptionalNorm& member, const char* name) {
    member.emplace(*this, name, make_norm(config.attention.hidden_size, config.norm));
  };
  const bool before = config.norms != NormPlacement::after;
  const bool after = config.norms != NormPlacement::before;
  if (before)
    norm(before_attention_, "input_layernorm");
  // Checkpoints call the second norm so whether it stands behind attention or before the MLP.
  norm(after ? after_attention_ : before_mlp_, "post_attention_layernorm");
  if (before && after)
    norm(before_mlp_, "pre_feedforward_layernorm");
  if (after)
    norm(after_mlp_, "post_feedforward_layernorm");
}

Variable DecoderLayer::forward(const Variable& x, const Placement& placement,
                               const Context& context) const {
  const Variable attention =
      self_attn_->forward(normed(before_attention_, x, context), placement, context);
  const Variable mixed = add(x, normed(after_attention_, attention, context));
  const Variable fed = mlp_->forward(normed(before_mlp_, mixed, context), context);
  return add(mixed, normed(after_mlp_, fed, context));
}

}  // namespace graft::nn
