#include "graft/nn/linear.h"

namespace graft::nn {

Linear::Linear(int64_t in_features, int64_t out_features, bool bias, FileLayout layout)
    : weight_(*this, "weight", Shape{out_features, in_features}), layout_(layout) {
  if (bias)
    bias_.emplace(*this, "bias", Shape{out_features});
}

Linear::Linear(const Weight& tied) : weight_(*this, "weight", tied) {}

Variable Linear::forward(const Variable& x, const Context&) const {
  return forward(x, std::span<const LowRank>());
}

Variable Linear::forward(const Variable& x, std::span<const LowRank> terms) const {
  return weight_.visit([&](const auto& w) { return graft::linear(x, w, bias(), terms); });
}

}  // namespace graft::nn
