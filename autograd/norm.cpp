#include "graft/autograd/norm.h"

#include <utility>

#include "graft/autograd/tape.h"
#include "graft/tensor/norm.h"

namespace graft {

Variable rms_norm(const Variable& x, const Variable& weight, double eps, double offset) {
  auto [y, rstd] = ops::rms_norm(x.value(), weight.value(), eps, offset);
  const Variable result = record("rms_norm", std::move(y), {x, weight},
                                 [x = save(x), weight = save(weight), rstd = save(rstd), offset](
                                     const Grads& dy, Needs needs) -> Grads {
                                   auto [dx, dweight] = ops::rms_norm_backward(
                                       dy[0], *x, *weight, *rstd, needs[1], offset);
                                   return {std::move(dx), std::move(dweight)};
                                 });
  return remake_in_backward(result, {x, weight}, [x = save(x), weight = save(weight), eps, offset] {
    return ops::rms_norm(*x, *weight, eps, offset).y;
  });
}

Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps) {
  auto [y, mean, rstd] = ops::layer_norm(x.value(), weight.value(), bias.value(), eps);
  const Variable result =
      record("layer_norm", std::move(y), {x, weight, bias},
             [x = save(x), weight = save(weight), mean = save(mean), rstd = save(rstd)](
                 const Grads& dy, Needs needs) -> Grads {
               auto [dx, dweight, dbias] = ops::layer_norm_backward(
                   dy[0], *x, *weight, {{}, *mean, *rstd}, needs[1] || needs[2]);
               return {std::move(dx), std::move(dweight), std::move(dbias)};
             });
  return remake_in_backward(result, {x, weight, bias},
                            [x = save(x), weight = save(weight), bias = save(bias), eps] {
                              return ops::layer_norm(*x, *weight, *bias, eps).y;
                            });
}

}  // namespace graft
