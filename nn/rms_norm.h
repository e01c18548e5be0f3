// RMSNorm as a layer.
#pragma once

#include "graft/autograd/norm.h"
#include "graft/nn/module.h"

namespace graft::nn {

/// x · weight / sqrt(mean(x²) + eps) over the last dimension.
class RmsNorm final : public Module {
 public:
  RmsNorm(int64_t features, double eps) : eps_(eps), weight_(*this, "weight", Shape{features}) {}
  Variable forward(const Variable& x) const { return graft::rms_norm(x, *weight_, eps_); }

 private:
  double eps_;
  Parameter weight_;
};

}  // namespace graft::nn
