#include "graft/autograd/low_rank.h"

#include "graft/autograd/dropout.h"
#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"

namespace graft {

Variable low_rank(const Variable& x, const LowRank& term) {
  const Variable dropped = to(dropout(x, term.dropout), term.a.dtype());
  const auto product = [&](const Variable& rows) {
    return to(scale(linear(linear(rows, term.a, {}), term.b, {}), term.scale), x.dtype());
  };
  if (!term.rows.defined())
    return product(dropped);
  const Variable some = embedding(view(dropped, {-1, term.a.shape()[1]}), term.rows);
  const Tensor zeros = Tensor::zeros(x.shape().with(-1, term.b.shape()[0]), x.dtype());
  return replace_rows(Variable(zeros), product(some), term.rows);
}

}  // namespace graft
