#include "graft/autograd/checkpoint.h"

#include <utility>

#include "graft/autograd/engine.h"
#include "graft/autograd/tape.h"

namespace graft {

Variable checkpoint(std::function<Variable(const Variable&)> block, const Variable& x) {
  if (!grad_enabled())
    return block(x);
  Tensor y;
  {
    const NoGrad no_grad;
    y = block(Variable(x.value())).value();
  }
  return record_always(
      "checkpoint", std::move(y), {x},
      [block = std::move(block), x = save(x)](const Grads& dy, Needs needs) -> Grads {
        GRAFT_CHECK(grad_enabled(), Error, "checkpoint: backward inside NoGrad");
        Variable input(*x, needs[0]);
        const Variable output = block(input);
        if (!output.requires_grad())
          return {Tensor()};
        if (!needs[0]) {
          run_backward(output, dy[0]);
          return {Tensor()};
        }
        return {run_backward_to(output, dy[0], input)};
      });
}

}  // namespace graft
