#include "graft/nn/linear.h"

#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"
#include "graft/tensor/pointwise.h"

namespace graft::nn {
namespace {

/// The sum of two biases, of which each may be undefined, in `dtype`. The second one is held in the
/// dtype of adapters.
Variable sum_of(const Variable& bias, const Variable& added, DType dtype) {
  if (!added.defined())
    return bias;
  return to(bias.defined() ? add(to(bias, added.dtype()), added) : added, dtype);
}

/// How far overridden rows are from those of the weight, (n, in).
template <class W>
Variable change_of_rows(const W& weight, const Override& rows) {
  const Tensor before = graft::embedding(weight, rows.rows).value().to(rows.value.dtype());
  return add(rows.value, Variable(ops::scale(before, -1)));
}

}  // namespace

Linear::Linear(int64_t in_features, int64_t out_features, bool bias, FileLayout layout)
    : weight_(*this, "weight", Shape{out_features, in_features}), layout_(layout) {
  if (bias)
    bias_.emplace(*this, "bias", Shape{out_features});
}

Linear::Linear(const Weight& tied) : weight_(*this, "weight", tied) {}

Variable Linear::forward(const Variable& x, const Context& context) const {
  return forward(x, context, {});
}

Variable Linear::forward(const Variable& x, const Context& context,
                         const LinearAdditions& additions) const {
  const Variable bias =
      sum_of(bias_ ? bias_->under(context) : Variable(), additions.bias, x.dtype());
  const ChosenOverrides chosen = weight_.overrides_under(context);
  if (const Override* whole = whole_override(chosen))
    return graft::linear(x, to(whole->value, x.dtype()), bias, additions.terms);
  return weight_.visit([&](const auto& w) {
    Variable y = graft::linear(x, w, bias, additions.terms);
    for (const Override* rows : chosen)
      y = add_to_columns(y, graft::linear(x, change_of_rows(w, *rows), {}), rows->rows);
    return y;
  });
}

}  // namespace graft::nn
