#include "graft/optim/lion.h"

#include <utility>

#include "graft/tensor/optimizer.h"

namespace graft::optim {
namespace {

void check(const LionOptions& options) {
  for (const double beta : {options.beta1, options.beta2})
    GRAFT_CHECK(beta >= 0 && beta < 1, ConfigError, "lion: a beta is ", beta,
                ", a number in [0, 1) expected");
  GRAFT_CHECK(options.weight_decay >= 0, ConfigError, "lion: weight_decay is ",
              options.weight_decay, ", at least 0 expected");
}

}  // namespace

Lion::Lion(std::vector<NamedVariable> parameters, const LionOptions& options)
    : Optimizer("lion", std::move(parameters), options.lr), options_(options) {
  check(options);
  add_buffer("exp_avg");
}

std::map<std::string, double> Lion::settings() const {
  return {{"beta1", options_.beta1},
          {"beta2", options_.beta2},
          {"weight_decay", options_.weight_decay}};
}

void Lion::update(size_t i, const Tensor& grad, double grad_scale, int64_t) {
  const Tensor& weight = value(i);
  lion_slot(weight.device(), {.w = weight.as_view(),
                              .g = grad.as_view(),
                              .m = buffer(0, i).as_view(),
                              .lr = lr_of(i),
                              .beta1 = options_.beta1,
                              .beta2 = options_.beta2,
                              .weight_decay = decay_of(i, options_.weight_decay),
                              .grad_scale = grad_scale});
}

}  // namespace graft::optim
