// Mlp: the gated feed-forward part of a decoder layer.
#pragma once

#include <cstdint>

#include "graft/autograd/pointwise.h"
#include "graft/nn/linear.h"

namespace graft::nn {

/// down(silu(gate(x)) · up(x)).
class Mlp final : public Module {
 public:
  Mlp(int64_t hidden_size, int64_t intermediate_size, bool bias)
      : gate_proj_(*this, "gate_proj", make_linear(hidden_size, intermediate_size, bias)),
        up_proj_(*this, "up_proj", make_linear(hidden_size, intermediate_size, bias)),
        down_proj_(*this, "down_proj", make_linear(intermediate_size, hidden_size, bias)) {}

  /// x (…, hidden_size) -> the same shape.
  Variable forward(const Variable& x, const Context& context) const {
    return down_proj_->forward(
        swiglu(gate_proj_->forward(x, context), up_proj_->forward(x, context)), context);
  }

 private:
  Child<LinearLike> gate_proj_;
  Child<LinearLike> up_proj_;
  Child<LinearLike> down_proj_;
};

}  // namespace graft::nn
