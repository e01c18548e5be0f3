// Filling and copying: the operations that Tensor itself is built on.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y[...] = value, for any layout and dtype.
struct FillArgs {
  TensorView y;
  double value;
};
/// y[...] = x[...], converted to y's dtype; equal shapes, any layouts. Float to float rounds to
/// nearest even, float to integer truncates.
struct CopyArgs {
  TensorView x, y;
};
extern Slot<FillArgs> fill_slot;
extern Slot<CopyArgs> copy_slot;

namespace ops {

/// Sets every element of `y`.
void fill_(Tensor& y, double value);
/// Copies `x` into `y`, converting. Throws ShapeError where the shapes differ.
void copy_(Tensor& y, const Tensor& x);
/// The tensors joined along dimension `i`. All other sizes and the dtypes must agree.
Tensor concatenate(std::span<const Tensor> parts, int i);

}  // namespace ops
}  // namespace graft
