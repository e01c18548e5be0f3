#include "graft/optim/adamw.h"

#include <utility>

#include "graft/tensor/optimizer.h"

namespace graft::optim {
namespace {

enum Moment : size_t { first, second };

void check(const AdamWOptions& options) {
  for (const double beta : {options.beta1, options.beta2})
    GRAFT_CHECK(beta >= 0 && beta < 1, ConfigError, "adamw: a beta is ", beta,
                ", a number in [0, 1) expected");
  GRAFT_CHECK(options.eps >= 0, ConfigError, "adamw: eps is ", options.eps,
              ", at least 0 expected");
  GRAFT_CHECK(options.weight_decay >= 0, ConfigError, "adamw: weight_decay is ",
              options.weight_decay, ", at least 0 expected");
}

}  // namespace

AdamW::AdamW(std::vector<NamedVariable> parameters, const AdamWOptions& options)
    : Optimizer("adamw", std::move(parameters), options.lr), options_(options) {
  check(options);
  add_buffer("exp_avg");
  add_buffer("exp_avg_sq");
}

std::map<std::string, double> AdamW::settings() const {
  return {{"beta1", options_.beta1},
          {"beta2", options_.beta2},
          {"eps", options_.eps},
          {"weight_decay", options_.weight_decay}};
}

void AdamW::update(size_t i, const Tensor& grad, double grad_scale, int64_t step) {
  const Tensor& weight = value(i);
  adamw_slot(weight.device(), {.w = weight.as_view(),
                               .g = grad.as_view(),
                               .m = buffer(first, i).as_view(),
                               .v = buffer(second, i).as_view(),
                               .lr = lr(),
                               .beta1 = options_.beta1,
                               .beta2 = options_.beta2,
                               .eps = options_.eps,
                               .weight_decay = options_.weight_decay,
                               .grad_scale = grad_scale,
                               .step = step});
}

}  // namespace graft::optim
