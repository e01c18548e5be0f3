#include "graft/autograd/rope.h"

#include "graft/autograd/tape.h"

namespace graft {

Variable rope(const Variable& x, const ops::RopeTables& tables) {
  return record("rope", ops::rope(x.value(), tables), {x},
                [cos = save(tables.cos), sin = save(tables.sin)](const Grads& dy, Needs) -> Grads {
                  return {ops::rope(dy[0], {*cos, *sin}, /*inverse=*/true)};
                });
}

}  // namespace graft
