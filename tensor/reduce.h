// Sums. Work is cut into blocks of fixed size whose partial sums are added in order, so that the
// bits do not depend on the number of threads.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y () f64 = Σ x, or Σ x² where `squares`. x row-major.
struct SumArgs {
  TensorView x, y;
  bool squares;
};
/// y (N) = Σ over rows of x (M,N), accumulated in f32 (f64 for f64). x row-major.
struct SumRowsArgs {
  TensorView x, y;
};
extern Slot<SumArgs> sum_slot;
extern Slot<SumRowsArgs> sum_rows_slot;

namespace ops {

/// Σ x, accumulated in f64.
double sum(const Tensor& x);
/// Σ x², accumulated in f64.
double sum_of_squares(const Tensor& x);
/// Column sums: x (…, N) -> (N), in x's dtype.
Tensor sum_rows(const Tensor& x);
/// False where any element is NaN or infinite.
bool all_finite(const Tensor& x);

}  // namespace ops
}  // namespace graft
