// DecoderLayer: attention and MLP, each behind its norm and added to what it was given.
#pragma once

#include <cstdint>

#include "graft/nn/attention.h"
#include "graft/nn/mlp.h"
#include "graft/nn/rms_norm.h"

namespace graft::nn {

struct DecoderLayerConfig {
  AttentionConfig attention{};
  int64_t intermediate_size = 0;
  bool mlp_bias = false;
  double rms_norm_eps = 0;
};

class DecoderLayer final : public Module {
 public:
  /// The layer number `layer` of its model.
  DecoderLayer(const DecoderLayerConfig& config, int64_t layer);

  /// x (B,T,hidden_size) -> the same shape.
  Variable forward(const Variable& x, const Placement& placement, const Context& context) const;

 private:
  Child<RmsNorm> input_layernorm_;
  Child<Attention> self_attn_;
  Child<RmsNorm> post_attention_layernorm_;
  Child<Mlp> mlp_;
};

}  // namespace graft::nn
