// Mlp: the gated feed-forward part of a decoder layer.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/nn/activation.h"
#include "graft/nn/linear.h"

namespace graft::nn {

struct MlpConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  bool bias = false;
  Activation activation = Activation::silu;
  /// One module `gate_up_proj` in place of `gate_proj` and `up_proj`.
  bool fused_gate_up = false;
};

/// down(activation(gate(x)) · up(x)).
class Mlp final : public Module {
 public:
  explicit Mlp(const MlpConfig& config);

  /// x (…, hidden_size) -> the same shape.
  Variable forward(const Variable& x, const Context& context) const;

 private:
  MlpConfig config_;
  // Which there are depends on the configuration; down_proj_ always is, and comes after the others.
  std::optional<Child<LinearLike>> gate_up_proj_;
  std::optional<Child<LinearLike>> gate_proj_;
  std::optional<Child<LinearLike>> up_proj_;
  std::optional<Child<LinearLike>> down_proj_;
};

}  // namespace graft::nn
