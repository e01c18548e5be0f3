// LinearLike, the seam at which adapters are put in, and Linear.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "graft/autograd/linear.h"
#include "graft/nn/context.h"
#include "graft/nn/module.h"
#include "graft/nn/weight.h"

namespace graft::nn {

/// Anything that maps (…, in_features) to (…, out_features).
class LinearLike : public Module {
 public:
  virtual Variable forward(const Variable& x, const Context& context) const = 0;
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
};

/// x weightᵀ + bias.
class Linear final : public LinearLike {
 public:
  Linear(int64_t in_features, int64_t out_features, bool bias = false);
  /// Shares the weight of an embedding or another Linear; no bias.
  explicit Linear(const Weight& tied);

  Variable forward(const Variable& x, const Context& context) const override;
  /// The same with the low-rank terms of adapters fused into the product.
  Variable forward(const Variable& x, std::span<const LowRank> terms) const;
  int64_t in_features() const override { return weight_.shape()[1]; }
  int64_t out_features() const override { return weight_.shape()[0]; }

  /// (out_features, in_features)
  const Weight& weight() const { return weight_; }
  /// (out_features), undefined where there is none.
  Variable bias() const { return bias_ ? **bias_ : Variable(); }

 private:
  Weight weight_;
  std::optional<Parameter> bias_;
};

inline std::unique_ptr<LinearLike> make_linear(int64_t in_features, int64_t out_features,
                                               bool bias = false) {
  return std::make_unique<Linear>(in_features, out_features, bias);
}

}  // namespace graft::nn
