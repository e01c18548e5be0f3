#include "graft/optim/adamw.h"

#include <utility>

namespace graft::optim {
namespace {

enum Moment : size_t { first, second };

}  // namespace

void check(std::string_view operation, const AdamWOptions& options) {
  for (const double beta : {options.beta1, options.beta2})
    GRAFT_CHECK(beta >= 0 && beta < 1, ConfigError, operation, ": a beta is ", beta,
                ", a number in [0, 1) expected");
  GRAFT_CHECK(options.eps >= 0, ConfigError, operation, ": eps is ", options.eps,
              ", at least 0 expected");
  GRAFT_CHECK(options.weight_decay >= 0, ConfigError, operation, ": weight_decay is ",
              options.weight_decay, ", at least 0 expected");
}

std::map<std::string, double> settings_of(const AdamWOptions& options) {
  return {{"beta1", options.beta1},
          {"beta2", options.beta2},
          {"eps", options.eps},
          {"weight_decay", options.weight_decay}};
}

AdamWScalars scalars_of(const AdamWOptions& options, double lr, double grad_scale, int64_t step) {
  return {.lr = lr,
          .beta1 = options.beta1,
          .beta2 = options.beta2,
          .eps = options.eps,
          .weight_decay = options.weight_decay,
          .grad_scale = grad_scale,
          .step = step};
}

AdamW::AdamW(std::vector<NamedVariable> parameters, const AdamWOptions& options)
    : Optimizer("adamw", std::move(parameters), options.lr), options_(options) {
  check("adamw", options);
  add_buffer("exp_avg");
  add_buffer("exp_avg_sq");
}

std::map<std::string, double> AdamW::settings() const {
  return settings_of(options_);
}

void AdamW::update(size_t i, const Tensor& grad, double grad_scale, int64_t step) {
  const Tensor& weight = value(i);
  AdamWOptions options = options_;
  options.weight_decay = decay_of(i, options_.weight_decay);
  adamw_slot(weight.device(), {.w = weight.as_view(),
                               .g = grad.as_view(),
                               .m = buffer(first, i).as_view(),
                               .v = buffer(second, i).as_view(),
                               .scalars = scalars_of(options, lr_of(i), grad_scale, step)});
}

}  // namespace graft::optim
