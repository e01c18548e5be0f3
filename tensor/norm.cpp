#include "graft/tensor/norm.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<RmsNormArgs> rms_norm_slot("rms_norm");
constinit Slot<RmsNormBackwardArgs> rms_norm_backward_slot("rms_norm_backward");
constinit Slot<LayerNormArgs> layer_norm_slot("layer_norm");
constinit Slot<LayerNormBackwardArgs> layer_norm_backward_slot("layer_norm_backward");

namespace ops {

RmsNorm rms_norm(const Tensor& x, const Tensor& weight, double eps, double offset) {
  const Tensor rows = as_rows(x);
  check_shape("rms_norm", "weight", weight, {x.dim(-1)});
  check_dtype("rms_norm", "weight", weight, x.dtype());
  RmsNorm result{Tensor::empty(x.shape(), x.dtype(), x.device()),
                 Tensor::empty({rows.dim(0)}, accumulator_dtype(x.dtype()), x.device())};
  if (x.numel() > 0)
    rms_norm_slot(x.device(), {rows.as_view(), weight.contiguous().as_view(), eps, offset,
                               as_rows(result.y).as_view(), result.rstd.as_view()});
  return result;
}

RmsNormGrads rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, bool weight_needed, double offset) {
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
    rms_norm_backward_slot(
        x.device(), {as_rows(dy).as_view(), rows.as_view(), weight.contiguous().as_view(), offset,
                     rstd.as_view(), as_rows(grads.dx).as_view(), grads.dweight.as_view()});
  return grads;
}

LayerNorm layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  const Tensor rows = as_rows(x);
  check_shape("layer_norm", "weight", weight, {x.dim(-1)});
  check_dtype("layer_norm", "weight", weight, x.dtype());
  check_shape("layer_norm", "bias", bias, {x.dim(-1)});
  check_dtype("layer_norm", "bias", bias, x.dtype());
  const DType statistics = accumulator_dtype(x.dtype());
  LayerNorm result{Tensor::empty(x.shape(), x.dtype(), x.device()),
                   Tensor::empty({rows.dim(0)}, statistics, x.device()),
                   Tensor::empty({rows.dim(0)}, statistics, x.device())};
  if (x.numel() > 0)
    layer_norm_slot(x.device(), {rows.as_view(), weight.contiguous().as_view(),
                                 bias.contiguous().as_view(), eps, as_rows(result.y).as_view(),
                                 result.mean.as_view(), result.rstd.as_view()});
  return result;
}

LayerNormGrads layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                   const LayerNorm& forward, bool parameters_needed) {
  check_same("layer_norm_backward", dy, x);
  const Tensor rows = as_rows(x);
  check_shape("layer_norm_backward", "weight", weight, {x.dim(-1)});
  check_dtype("layer_norm_backward", "weight", weight, x.dtype());
  for (const Tensor* statistic : {&forward.mean, &forward.rstd}) {
    check_shape("layer_norm_backward", "mean or rstd", *statistic, {rows.dim(0)});
    check_dtype("layer_norm_backward", "mean or rstd", *statistic, accumulator_dtype(x.dtype()));
  }
  LayerNormGrads grads{Tensor::empty(x.shape(), x.dtype(), x.device()), {}, {}};
  if (parameters_needed) {
    grads.dweight = Tensor::zeros(weight.shape(), weight.dtype(), weight.device());
    grads.dbias = Tensor::zeros(weight.shape(), weight.dtype(), weight.device());
  }
  if (x.numel() > 0)
    layer_norm_backward_slot(
        x.device(), {as_rows(dy).as_view(), rows.as_view(), weight.contiguous().as_view(),
                     forward.mean.as_view(), forward.rstd.as_view(), as_rows(grads.dx).as_view(),
                     grads.dweight.as_view(), grads.dbias.as_view()});
  return grads;
}

}  // namespace ops
}  // namespace graft
