// AdamW, with PyTorch's arithmetic (Loshchilov and Hutter 2019, arXiv:1711.05101).
#pragma once

#include "graft/optim/optimizer.h"
#include "graft/tensor/optimizer.h"

namespace graft::optim {

/// PyTorch's names; the defaults are PyTorch's but for the learning rate and the decay, which are
/// those usual for adapters.
struct AdamWOptions {
  double lr = 2e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  /// Applies to every parameter, norms and biases included.
  double weight_decay = 0;
};

/// Throws ConfigError, as `operation`, where an option is out of its range.
void check(std::string_view operation, const AdamWOptions& options);
/// The options besides the learning rate, by name.
std::map<std::string, double> settings_of(const AdamWOptions& options);
/// What a kernel takes for one step.
AdamWScalars scalars_of(const AdamWOptions& options, double lr, double grad_scale, int64_t step);

class AdamW final : public Optimizer {
 public:
  /// Throws ConfigError where an option is out of its range.
  explicit AdamW(std::vector<NamedVariable> parameters, const AdamWOptions& options = {});

  std::string_view name() const override { return "adamw"; }
  std::map<std::string, double> settings() const override;

 protected:
  void update(size_t i, const Tensor& grad, double grad_scale, int64_t step) override;

 private:
  AdamWOptions options_;
};

}  // namespace graft::optim
