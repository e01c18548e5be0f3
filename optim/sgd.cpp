#include "graft/optim/sgd.h"

#include <utility>

#include "graft/tensor/optimizer.h"

namespace graft::optim {
namespace {

void check(const SgdOptions& options) {
  GRAFT_CHECK(options.momentum >= 0, ConfigError, "sgd: momentum is ", options.momentum,
              ", at least 0 expected");
  GRAFT_CHECK(options.weight_decay >= 0, ConfigError, "sgd: weight_decay is ", options.weight_decay,
              ", at least 0 expected");
  GRAFT_CHECK(!options.nesterov || (options.momentum > 0 && options.dampening == 0), ConfigError,
              "sgd: nesterov is set with momentum ", options.momentum, " and dampening ",
              options.dampening, ", a momentum and no dampening expected");
}

}  // namespace

Sgd::Sgd(std::vector<NamedVariable> parameters, const SgdOptions& options)
    : Optimizer("sgd", std::move(parameters), options.lr), options_(options) {
  check(options);
  if (options.momentum > 0)
    add_buffer("momentum_buffer");
}

std::map<std::string, double> Sgd::settings() const {
  return {{"momentum", options_.momentum},
          {"dampening", options_.dampening},
          {"weight_decay", options_.weight_decay},
          {"nesterov", options_.nesterov ? 1.0 : 0.0}};
}

void Sgd::update(size_t i, const Tensor& grad, double grad_scale, int64_t step) {
  const Tensor& weight = value(i);
  sgd_slot(weight.device(), {.w = weight.as_view(),
                             .g = grad.as_view(),
                             .m = options_.momentum > 0 ? buffer(0, i).as_view() : TensorView{},
                             .lr = lr_of(i),
                             .momentum = options_.momentum,
                             .dampening = options_.dampening,
                             .weight_decay = decay_of(i, options_.weight_decay),
                             .grad_scale = grad_scale,
                             .nesterov = options_.nesterov,
                             .first = step == 1});
}

}  // namespace graft::optim
