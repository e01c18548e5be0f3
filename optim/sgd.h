// SGD with momentum, with PyTorch's arithmetic.
#pragma once

#include "graft/optim/optimizer.h"

namespace graft::optim {

/// PyTorch's names and defaults. Without momentum there is no state but the step counts.
struct SgdOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;  ///< needs a momentum and no dampening
};

class Sgd final : public Optimizer {
 public:
  /// Throws ConfigError where an option is out of its range.
  explicit Sgd(std::vector<NamedVariable> parameters, const SgdOptions& options = {});

  std::string_view name() const override { return "sgd"; }
  std::map<std::string, double> settings() const override;

 protected:
  void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) override;

 private:
  SgdOptions options_;
};

}  // namespace graft::optim
