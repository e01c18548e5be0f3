// Lion (Chen et al. 2023, arXiv:2302.06675): moves every number by the learning rate, in the
// direction of a mean of its gradients.
#pragma once

#include "graft/optim/optimizer.h"

namespace graft::optim {

/// The paper's names and defaults. The paper advises a learning rate three to ten times smaller
/// than AdamW's, and a decay that is as much larger.
struct LionOptions {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.99;
  /// Applies to every parameter, norms and biases included.
  double weight_decay = 0;
};

class Lion final : public Optimizer {
 public:
  /// Throws ConfigError where an option is out of its range.
  explicit Lion(std::vector<NamedVariable> parameters, const LionOptions& options = {});

  std::string_view name() const override { return "lion"; }
  std::map<std::string, double> settings() const override;

 protected:
  void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) override;

 private:
  LionOptions options_;
};

}  // namespace graft::optim
