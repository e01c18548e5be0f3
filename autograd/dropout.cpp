#include "graft/autograd/dropout.h"

#include "graft/autograd/tape.h"

namespace graft {

Variable dropout(const Variable& x, const DropoutKey& key) {
  if (key.p == 0)
    return x;
  return record("dropout", ops::dropout(x.value(), key), {x},
                [key](const Grads& dy, Needs) -> Grads { return {ops::dropout(dy[0], key)}; });
}

}  // namespace graft
