// A factor for each column: what scales the outputs of a layer one by one.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y = x · factors + bias. x, y (rows, N) row-major; factors (N) f32 (f64 for f64); bias (N) in x's
/// dtype, or absent.
struct ScaleColumnsArgs {
  TensorView x, factors, bias, y;
};
/// dx = dy · factors; dfactors (N) = Σ over rows of dy · x. Either is absent where it is not
/// wanted; x is absent with dfactors.
struct ScaleColumnsBackwardArgs {
  TensorView dy, x, factors, dx, dfactors;
};
extern Slot<ScaleColumnsArgs> scale_columns_slot;
extern Slot<ScaleColumnsBackwardArgs> scale_columns_backward_slot;

namespace ops {

/// x (…, N), factors (N) f32 (f64 for f64), bias (N) in x's dtype or undefined -> like x, rounded
/// once.
Tensor scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias = {});
struct ScaleColumnsGrads {
  Tensor dx, dfactors;
};
/// dx is undefined unless `x_needed`; dfactors is where x is.
ScaleColumnsGrads scale_columns_backward(const Tensor& dy, const Tensor& x, const Tensor& factors,
                                         bool x_needed);

}  // namespace ops
}  // namespace graft
