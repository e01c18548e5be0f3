#include "graft/tensor/reduce.h"

#include <cmath>

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<SumArgs> sum_slot("sum");
constinit Slot<SumRowsArgs> sum_rows_slot("sum_rows");

namespace ops {
namespace {

double sum_with(const Tensor& x, bool squares) {
  const Tensor dense = x.contiguous();
  Tensor y = Tensor::zeros({}, DType::f64, x.device());
  if (x.numel() > 0)
    sum_slot(x.device(), {dense.as_view(), y.as_view(), squares});
  return y.item();
}

}  // namespace

double sum(const Tensor& x) {
  return sum_with(x, false);
}
double sum_of_squares(const Tensor& x) {
  return sum_with(x, true);
}

Tensor sum_rows(const Tensor& x) {
  const Tensor rows = as_rows(x);
  Tensor y = Tensor::zeros({rows.dim(1)}, x.dtype(), x.device());
  if (rows.numel() > 0)
    sum_rows_slot(x.device(), {rows.as_view(), y.as_view()});
  return y;
}

bool all_finite(const Tensor& x) {
  // An infinite or NaN element makes the f64 sum of squares so; finite f32 elements never do.
  if (x.dtype() != DType::f64)
    return std::isfinite(sum_of_squares(x));
  for (const double value : x.to_vector()) {
    if (!std::isfinite(value))
      return false;
  }
  return true;
}

}  // namespace ops
}  // namespace graft
