// Elementwise arithmetic on tensors of equal shape, and the activations of the MLP, gated and not.
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
/// Which gelu: Gelu or GeluTanh of tensor/functors.h.
enum class GeluKind : int32_t { exact = 0, tanh };
/// y = gelu(x).
struct GeluArgs {
  TensorView x, y;
  GeluKind kind;
};
struct GeluBackwardArgs {
  TensorView dy, x, dx;
  GeluKind kind;
};
/// y = gelu(gate) · up.
struct GegluArgs {
  TensorView gate, up, y;
  GeluKind kind;
};
struct GegluBackwardArgs {
  TensorView dy, gate, up, dgate, dup;
  GeluKind kind;
};
extern Slot<AddArgs> add_slot;
extern Slot<MulArgs> mul_slot;
extern Slot<ScaleArgs> scale_slot;
extern Slot<SwigluArgs> swiglu_slot;
extern Slot<SwigluBackwardArgs> swiglu_backward_slot;
extern Slot<GeluArgs> gelu_slot;
extern Slot<GeluBackwardArgs> gelu_backward_slot;
extern Slot<GegluArgs> geglu_slot;
extern Slot<GegluBackwardArgs> geglu_backward_slot;

namespace ops {

/// a + alpha · b. Equal shapes and floating dtypes.
Tensor add(const Tensor& a, const Tensor& b, double alpha = 1);
/// a += alpha · b, in place. `a` must be contiguous.
void add_(Tensor& a, const Tensor& b, double alpha = 1);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double factor);
void scale_(Tensor& x, double factor);

/// Gradients of a gated activation.
struct GatedGrads {
  Tensor dgate, dup;
};
/// silu(gate) · up, elementwise (SwiGLU without its matrices; Shazeer 2020, arXiv:2002.05202).
Tensor swiglu(const Tensor& gate, const Tensor& up);
GatedGrads swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up);
/// gelu(gate) · up, elementwise (GEGLU, the same paper).
Tensor geglu(const Tensor& gate, const Tensor& up, GeluKind kind);
GatedGrads geglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, GeluKind kind);
/// gelu(x), elementwise.
Tensor gelu(const Tensor& x, GeluKind kind);
Tensor gelu_backward(const Tensor& dy, const Tensor& x, GeluKind kind);

}  // namespace ops
}  // namespace graft
