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

/// How the files of a model store the matrix of a Linear. In memory it is always (out, in).
enum class FileLayout {
  out_in,
  in_out,  ///< GPT-2's Conv1D; PEFT says fan_in_fan_out
};

/// What adapters add to the output of a Linear.
struct LinearAdditions {
  std::span<const LowRank> terms{};
  Variable bias{};  ///< (out_features), or undefined
};

/// x weightᵀ + bias.
class Linear final : public LinearLike {
 public:
  Linear(int64_t in_features, int64_t out_features, bool bias = false,
         FileLayout layout = FileLayout::out_in);
  /// Shares the weight of an embedding or another Linear; no bias.
  explicit Linear(const Weight& tied);

  Variable forward(const Variable& x, const Context& context) const override;
  /// The same with the additions of adapters fused into the product.
  Variable forward(const Variable& x, const Context& context,
                   const LinearAdditions& additions) const;
  int64_t in_features() const override { return weight_.shape()[1]; }
  int64_t out_features() const override { return weight_.shape()[0]; }
  void pack() override { weight_.pack(); }

  /// (out_features, in_features)
  const Weight& weight() const { return weight_; }
  Weight& weight() { return weight_; }
  /// (out_features), or nullptr.
  const Parameter* bias() const { return bias_ ? &*bias_ : nullptr; }
  Parameter* bias() { return bias_ ? &*bias_ : nullptr; }
  /// True where an adapter of the context brings a weight, rows of it, or a bias.
  bool is_overridden(const Context& context) const {
    return !weight_.overrides_under(context).empty() ||
           (bias_ && !bias_->overrides_under(context).empty());
  }
  FileLayout file_layout() const { return layout_; }

 private:
  Weight weight_;
  std::optional<Parameter> bias_;
  FileLayout layout_ = FileLayout::out_in;
};

inline std::unique_ptr<LinearLike> make_linear(int64_t in_features, int64_t out_features,
                                               bool bias = false,
                                               FileLayout layout = FileLayout::out_in) {
  return std::make_unique<Linear>(in_features, out_features, bias, layout);
}

}  // namespace graft::nn
