// DecoderLayer: attention and MLP, each with its norms and added to what it was given.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/nn/attention.h"
#include "graft/nn/mlp.h"
#include "graft/nn/rms_norm.h"

namespace graft::nn {

/// Where a layer normalises.
enum class NormPlacement {
  before,  ///< what attention and MLP read
  after,   ///< what they give, before it is added
  both,
};

struct DecoderLayerConfig {
  AttentionConfig attention{};
  MlpConfig mlp{};
  NormConfig norm{};
  NormPlacement norms = NormPlacement::before;
};

class DecoderLayer final : public Module {
 public:
  /// The layer number `layer` of its model.
  DecoderLayer(const DecoderLayerConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape.
  Variable forward(const Variable& x, const Placement& placement, const Context& context) const;

 private:
  using OptionalNorm = std::optional<Child<RmsNorm>>;

  OptionalNorm before_attention_;
  Child<Attention> self_attn_;
  OptionalNorm after_attention_;
  OptionalNorm before_mlp_;
  Child<Mlp> mlp_;
  OptionalNorm after_mlp_;
};

}  // namespace graft::nn
