// RMS normalisation (Zhang and Sennrich 2019, arXiv:1910.07467).
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y = x · rstd · weight, rstd = 1 / sqrt(mean(x²) + eps) over the last dimension. x, y (rows, D)
/// row-major; weight (D); rstd (rows) f32 (f64 for f64).
struct RmsNormArgs {
  TensorView x, weight;
  double eps;
  TensorView y, rstd;
};
/// dweight (D) is absent where it is not wanted.
struct RmsNormBackwardArgs {
  TensorView dy, x, weight, rstd, dx, dweight;
};
extern Slot<RmsNormArgs> rms_norm_slot;
extern Slot<RmsNormBackwardArgs> rms_norm_backward_slot;

namespace ops {

struct RmsNorm {
  Tensor y, rstd;
};
/// x (…, D), weight (D) -> y like x, rstd (…).
RmsNorm rms_norm(const Tensor& x, const Tensor& weight, double eps);
struct RmsNormGrads {
  Tensor dx, dweight;
};
/// dweight is undefined unless `weight_needed`.
RmsNormGrads rms_norm_backward(const Tensor& dy, const Tensor& x, const Tensor& weight,
                               const Tensor& rstd, bool weight_needed);

}  // namespace ops
}  // namespace graft
