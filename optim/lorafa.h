// LoraFa: LoRA with A frozen (Zhang et al. 2023, arXiv:2308.03303), stepped as PEFT's
// create_lorafa_optimizer does: the gradient of B is turned into the one whose change of the weight
// is nearest to the whole weight's gradient.
#pragma once

#include "graft/optim/adamw.h"

namespace graft::optim {

/// What B (out, r) is multiplied with: scaling · B a.
struct LoraFaFactor {
  Variable a;  ///< (r, in); is not trained
  double scaling;
};

/// For the B of each factor, g = 1/scaling² · g (a aᵀ + 1e-8 I)⁻¹; then, for all parameters, AdamW
/// as transformers had it: eps is added before the correction of the bias, and the decay comes
/// after the step, w -= lr · weight_decay · w. PEFT multiplies in bf16 where there is any; this is
/// f32.
class LoraFa final : public Optimizer {
 public:
  /// PEFT's eps, and its decay.
  static constexpr AdamWOptions defaults{.eps = 1e-6};

  /// `factors` are given by the names of their B. Throws ConfigError for a name that is no
  /// parameter's, and where an option is out of its range; ShapeError where a and B do not fit.
  LoraFa(std::vector<NamedVariable> parameters, const std::map<std::string, LoraFaFactor>& factors,
         const AdamWOptions& options = defaults);

  std::string_view name() const override { return "lorafa"; }
  std::map<std::string, double> settings() const override;

 protected:
  void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) override;

 private:
  AdamWOptions options_;
  std::vector<Tensor> projections_;  // one per parameter, (r,r) in its dtype; undefined of others
};

}  // namespace graft::optim
