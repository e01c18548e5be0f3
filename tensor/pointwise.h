// Elementwise arithmetic on tensors of equal shape, and the gated activation of the MLP.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y = a + alpha · b. All row-major, one shape, one floating dtype. y may be a.
struct AddArgs {
  TensorView a, b, y;
  double alpha;
};
/// y = a · b, elementwise.
struct MulArgs {
  TensorView a, b, y;
};
/// y = factor · x. y may be x.
struct ScaleArgs {
  TensorView x, y;
  double factor;
};
/// y = silu(gate) · up.
struct SwigluArgs {
  TensorView gate, up, y;
};
struct SwigluBackwardArgs {
  TensorView dy, gate, up, dgate, dup;
};
extern Slot<AddArgs> add_slot;
extern Slot<MulArgs> mul_slot;
extern Slot<ScaleArgs> scale_slot;
extern Slot<SwigluArgs> swiglu_slot;
extern Slot<SwigluBackwardArgs> swiglu_backward_slot;

namespace ops {

/// a + alpha · b. Equal shapes and floating dtypes.
Tensor add(const Tensor& a, const Tensor& b, double alpha = 1);
/// a += alpha · b, in place. `a` must be contiguous.
void add_(Tensor& a, const Tensor& b, double alpha = 1);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double factor);
void scale_(Tensor& x, double factor);

/// silu(gate) · up, elementwise (SwiGLU without its matrices; Shazeer 2020, arXiv:2002.05202).
Tensor swiglu(const Tensor& gate, const Tensor& up);
struct SwigluGrads {
  Tensor dgate, dup;
};
SwigluGrads swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up);

}  // namespace ops
}  // namespace graft
