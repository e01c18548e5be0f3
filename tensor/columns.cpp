#include "graft/tensor/columns.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<ScaleColumnsArgs> scale_columns_slot("scale_columns");
constinit Slot<ScaleColumnsBackwardArgs> scale_columns_backward_slot("scale_columns_backward");

namespace ops {

Tensor scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias) {
  const Tensor rows = as_rows(x);
  check_shape("scale_columns", "factors", factors, {x.dim(-1)});
  check_dtype("scale_columns", "factors", factors, accumulator_dtype(x.dtype()));
  if (bias.defined()) {
    check_shape("scale_columns", "bias", bias, {x.dim(-1)});
    check_dtype("scale_columns", "bias", bias, x.dtype());
  }
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor held_bias = bias.defined() ? bias.contiguous() : Tensor();
  if (x.numel() > 0)
    scale_columns_slot(x.device(), {rows.as_view(), factors.contiguous().as_view(),
                                    held_bias.as_view(), as_rows(y).as_view()});
  return y;
}

ScaleColumnsGrads scale_columns_backward(const Tensor& dy, const Tensor& x, const Tensor& factors,
                                         bool x_needed) {
  const Tensor rows = as_rows(dy);
  check_shape("scale_columns_backward", "factors", factors, {dy.dim(-1)});
  check_dtype("scale_columns_backward", "factors", factors, accumulator_dtype(dy.dtype()));
  ScaleColumnsGrads grads;
  Tensor kept;
  if (x.defined()) {
    check_same("scale_columns_backward", dy, x);
    kept = as_rows(x);
    grads.dfactors = Tensor::zeros(factors.shape(), factors.dtype(), factors.device());
  }
  if (x_needed)
    grads.dx = Tensor::empty(dy.shape(), dy.dtype(), dy.device());
  if (dy.numel() > 0)
    scale_columns_backward_slot(
        dy.device(),
        {rows.as_view(), kept.as_view(), factors.contiguous().as_view(),
         x_needed ? as_rows(grads.dx).as_view() : TensorView(), grads.dfactors.as_view()});
  return grads;
}

}  // namespace ops
}  // namespace graft
