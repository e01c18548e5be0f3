#include "graft/autograd/low_rank.h"

#include "graft/autograd/dropout.h"
#include "graft/autograd/pointwise.h"

namespace graft {

Variable low_rank(const Variable& x, const LowRank& term) {
  const Variable u = linear(to(dropout(x, term.dropout), term.a.dtype()), term.a, {});
  return to(scale(linear(u, term.b, {}), term.scale), x.dtype());
}

}  // namespace graft
