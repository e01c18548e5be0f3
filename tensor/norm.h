// Normalisation over the last dimension: RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) and
// LayerNorm (Ba, Kiros and Hinton 2016, arXiv:1607.06450).
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y = x · rstd · (offset + weight), rstd = 1 / sqrt(mean(x²) + eps) over the last dimension. x, y
/// (rows, D) row-major; weight (D); rstd (rows) f32 (f64 for f64).
struct RmsNormArgs {
  TensorView x, weight;
  double eps, offset;
  TensorView y, rstd;
};
/// dweight (D) is absent where it is not wanted.
struct RmsNormBackwardArgs {
  TensorView dy, x, weight;
  double offset;
  TensorView rstd, dx, dweight;
};
/// y = (x - mean) · rstd · weight + bias, rstd = 1 / sqrt(mean((x - mean)²) + eps) over the last
/// dimension. x, y (rows, D) row-major; weight, bias (D); mean, rstd (rows) f32 (f64 for f64).
struct LayerNormArgs {
  TensorView x, weight, bias;
  double eps;
  TensorView y, mean, rstd;
};
/// dweight and dbias (D) are absent where they are not wanted.
struct LayerNormBackwardArgs {
  TensorView dy, x, weight, mean, rstd, dx, dweight, dbias;
};
extern Slot<RmsNormArgs> rms_norm_slot;
extern Slot<RmsNormBackwardArgs> rms_norm_backward_slot;
extern Slot<LayerNormArgs> layer_norm_slot;
extern Slot<LayerNormBackwardArgs> layer_norm_backward_slot;

namespace ops {

struct RmsNorm {
  Tensor y, rstd;
};
/// x (…, D), weight (D) -> y like x, rstd (rows). `offset` is added to the weight in the type that
/// is computed with: 1 for weights stored as differences from 1.
RmsNorm rms_norm(const Tensor& x, const Tensor& weight, double eps, double offset = 0);
struct RmsNormGrads {
  Tensor dx, dweight;
};
/// dweight is undefined unless `weight_needed`.
RmsNormGrads rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, bool weight_needed, double offset = 0);

struct LayerNorm {
  Tensor y, mean, rstd;
};
/// x (…, D), weight and bias (D) -> y like x, mean and rstd (rows).
LayerNorm layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
struct LayerNormGrads {
  Tensor dx, dweight, dbias;
};
/// `forward` is what layer_norm() gave; its y is not read. dweight and dbias are undefined unless
/// `parameters_needed`.
LayerNormGrads layer_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                   const LayerNorm& forward, bool parameters_needed);

}  // namespace ops
}  // namespace graft
