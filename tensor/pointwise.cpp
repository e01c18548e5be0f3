#include "graft/tensor/pointwise.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<AddArgs> add_slot("add");
constinit Slot<MulArgs> mul_slot("mul");
constinit Slot<ScaleArgs> scale_slot("scale");
constinit Slot<SwigluArgs> swiglu_slot("swiglu");
constinit Slot<SwigluBackwardArgs> swiglu_backward_slot("swiglu_backward");
constinit Slot<GeluArgs> gelu_slot("gelu");
constinit Slot<GeluBackwardArgs> gelu_backward_slot("gelu_backward");
constinit Slot<GegluArgs> geglu_slot("geglu");
constinit Slot<GegluBackwardArgs> geglu_backward_slot("geglu_backward");

namespace ops {

Tensor add(const Tensor& a, const Tensor& b, double alpha) {
  check_same("add", a, b);
  Tensor y = Tensor::empty(a.shape(), a.dtype(), a.device());
  const Tensor left = a.contiguous();
  const Tensor right = b.contiguous();
  if (y.numel() > 0)
    add_slot(y.device(), {left.as_view(), right.as_view(), y.as_view(), alpha});
  return y;
}

void add_(Tensor& a, const Tensor& b, double alpha) {
  check_same("add", a, b);
  GRAFT_CHECK(a.is_contiguous(), ShapeError, "add_: ", a.shape(), " is not contiguous");
  const Tensor right = b.contiguous();
  if (a.numel() > 0)
    add_slot(a.device(), {a.as_view(), right.as_view(), a.as_view(), alpha});
}

Tensor mul(const Tensor& a, const Tensor& b) {
  check_same("mul", a, b);
  Tensor y = Tensor::empty(a.shape(), a.dtype(), a.device());
  const Tensor left = a.contiguous();
  const Tensor right = b.contiguous();
  if (y.numel() > 0)
    mul_slot(y.device(), {left.as_view(), right.as_view(), y.as_view()});
  return y;
}

Tensor scale(const Tensor& x, double factor) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor dense = x.contiguous();
  if (y.numel() > 0)
    scale_slot(y.device(), {dense.as_view(), y.as_view(), factor});
  return y;
}

void scale_(Tensor& x, double factor) {
  GRAFT_CHECK(x.is_contiguous(), ShapeError, "scale_: ", x.shape(), " is not contiguous");
  if (x.numel() > 0)
    scale_slot(x.device(), {x.as_view(), x.as_view(), factor});
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  check_same("swiglu", gate, up);
  Tensor y = Tensor::empty(gate.shape(), gate.dtype(), gate.device());
  const Tensor left = gate.contiguous();
  const Tensor right = up.contiguous();
  if (y.numel() > 0)
    swiglu_slot(y.device(), {left.as_view(), right.as_view(), y.as_view()});
  return y;
}

GatedGrads swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up) {
  check_same("swiglu_backward", dy, gate);
  check_same("swiglu_backward", gate, up);
  GatedGrads grads{Tensor::empty(gate.shape(), gate.dtype(), gate.device()),
                   Tensor::empty(up.shape(), up.dtype(), up.device())};
  const Tensor dense_dy = dy.contiguous();
  const Tensor dense_gate = gate.contiguous();
  const Tensor dense_up = up.contiguous();
  if (dy.numel() > 0)
    swiglu_backward_slot(dy.device(), {dense_dy.as_view(), dense_gate.as_view(), dense_up.as_view(),
                                       grads.dgate.as_view(), grads.dup.as_view()});
  return grads;
}

Tensor geglu(const Tensor& gate, const Tensor& up, GeluKind kind) {
  check_same("geglu", gate, up);
  Tensor y = Tensor::empty(gate.shape(), gate.dtype(), gate.device());
  const Tensor left = gate.contiguous();
  const Tensor right = up.contiguous();
  if (y.numel() > 0)
    geglu_slot(y.device(), {left.as_view(), right.as_view(), y.as_view(), kind});
  return y;
}

GatedGrads geglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, GeluKind kind) {
  check_same("geglu_backward", dy, gate);
  check_same("geglu_backward", gate, up);
  GatedGrads grads{Tensor::empty(gate.shape(), gate.dtype(), gate.device()),
                   Tensor::empty(up.shape(), up.dtype(), up.device())};
  const Tensor dense_dy = dy.contiguous();
  const Tensor dense_gate = gate.contiguous();
  const Tensor dense_up = up.contiguous();
  if (dy.numel() > 0)
    geglu_backward_slot(dy.device(), {dense_dy.as_view(), dense_gate.as_view(), dense_up.as_view(),
                                      grads.dgate.as_view(), grads.dup.as_view(), kind});
  return grads;
}

Tensor gelu(const Tensor& x, GeluKind kind) {
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor dense = x.contiguous();
  if (y.numel() > 0)
    gelu_slot(y.device(), {dense.as_view(), y.as_view(), kind});
  return y;
}

Tensor gelu_backward(const Tensor& dy, const Tensor& x, GeluKind kind) {
  check_same("gelu_backward", dy, x);
  Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor dense_dy = dy.contiguous();
  const Tensor dense_x = x.contiguous();
  if (dx.numel() > 0)
    gelu_backward_slot(dx.device(), {dense_dy.as_view(), dense_x.as_view(), dx.as_view(), kind});
  return dx;
}

}  // namespace ops
}  // namespace graft
