// RMSNorm as a layer.
#pragma once

#include "graft/autograd/norm.h"
#include "graft/nn/module.h"

namespace graft::nn {

struct NormConfig {
  double eps = 0;
  /// Added to the weight: 1 where checkpoints store how far weights are from 1.
  double offset = 0;
};

/// x · (weight + offset) / sqrt(mean(x²) + eps) over the last dimension.
class RmsNorm final : public Module {
 public:
  RmsNorm(int64_t features, const NormConfig& config)
      : config_(config), weight_(*this, "weight", Shape{features}) {}
  Variable forward(const Variable& x, const Context& context) const {
    return graft::rms_norm(x, weight_.under(context), config_.eps, config_.offset);
  }

 private:
  NormConfig config_;
  Parameter weight_;
};

inline std::unique_ptr<RmsNorm> make_norm(int64_t features, const NormConfig& config) {
  return std::make_unique<RmsNorm>(features, config);
}

}  // namespace graft::nn
