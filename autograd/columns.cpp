#include "graft/autograd/columns.h"

#include <utility>

#include "graft/autograd/tape.h"
#include "graft/tensor/columns.h"
#include "graft/tensor/reduce.h"

namespace graft {

Variable scale_columns(const Variable& x, const Variable& factors, const Variable& bias) {
  Tensor y =
      ops::scale_columns(x.value(), factors.value(), bias.defined() ? bias.value() : Tensor());
  return record(
      "scale_columns", std::move(y), {x, factors, bias},
      [x = save_if(needs_grad(factors), x), factors = save(factors)](const Grads& dy,
                                                                     Needs needs) -> Grads {
        auto [dx, dfactors] = ops::scale_columns_backward(dy[0], *x, *factors, needs[0]);
        return {std::move(dx), std::move(dfactors), needs[2] ? ops::sum_rows(dy[0]) : Tensor()};
      });
}

}  // namespace graft
