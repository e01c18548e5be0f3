// LayerNorm as a layer.
#pragma once

#include "graft/autograd/norm.h"
#include "graft/nn/module.h"

namespace graft::nn {

/// (x - mean(x)) · weight / sqrt(variance(x) + eps) + bias over the last dimension.
class LayerNorm final : public Module {
 public:
  LayerNorm(int64_t features, double eps)
      : eps_(eps),
        weight_(*this, "weight", Shape{features}),
        bias_(*this, "bias", Shape{features}) {}
  Variable forward(const Variable& x, const Context& context) const {
    return graft::layer_norm(x, weight_.under(context), bias_.under(context), eps_);
  }

 private:
  double eps_;
  Parameter weight_;
  Parameter bias_;
};

}  // namespace graft::nn
