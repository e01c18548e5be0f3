#include "graft/tensor/norm.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<RmsNormArgs> rms_norm_slot("rms_norm");
constinit Slot<RmsNormBackwardArgs> rms_norm_backward_slot("rms_norm_backward");

namespace ops {

RmsNorm rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const Tensor rows = as_rows(x);
  check_shape("rms_norm", "weight", weight, {x.dim(-1)});
  check_dtype("rms_norm", "weight", weight, x.dtype());
  RmsNorm result{Tensor::empty(x.shape(), x.dtype(), x.device()),
                 Tensor::empty({rows.dim(0)}, accumulator_dtype(x.dtype()), x.device())};
  if (x.numel() > 0)
    rms_norm_slot(x.device(), {rows.as_view(), weight.contiguous().as_view(), eps,
                               as_rows(result.y).as_view(), result.rstd.as_view()});
  return result;
}

RmsNormGrads rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, bool weight_needed) {
  check_same("rms_norm_backward", dy, x);
  const Tensor rows = as_rows(x);
  check_shape("rms_norm_backward", "weight", weight, {x.dim(-1)});
  check_dtype("rms_norm_backward", "weight", weight, x.dtype());
  check_shape("rms_norm_backward", "rstd", rstd, {rows.dim(0)});
  check_dtype("rms_norm_backward", "rstd", rstd, accumulator_dtype(x.dtype()));
  RmsNormGrads grads{Tensor::empty(x.shape(), x.dtype(), x.device()), {}};
  if (weight_needed)
    grads.dweight = Tensor::zeros(weight.shape(), weight.dtype(), weight.device());
  if (x.numel() > 0)
    rms_norm_backward_slot(x.device(),
                           {as_rows(dy).as_view(), rows.as_view(), weight.contiguous().as_view(),
                            rstd.as_view(), as_rows(grads.dx).as_view(), grads.dweight.as_view()});
  return grads;
}

}  // namespace ops
}  // namespace graft
