#include "graft/tensor/matmul.h"

#include "graft/tensor/check.h"
#include "graft/tensor/check_linear.h"
#include "graft/tensor/copy.h"

namespace graft {

constinit Slot<MatmulArgs> matmul_slot("matmul");
constinit Slot<LinearArgs> linear_slot("linear");
constinit Slot<LinearBackwardArgs> linear_backward_slot("linear_backward");

namespace ops {
namespace {

/// The matrix itself where one of its strides is 1, else a row-major copy.
Tensor readable(const Tensor& x) {
  return x.strides()[0] == 1 || x.strides()[1] == 1 ? x : x.contiguous();
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, double alpha) {
  return matmul(a, b, alpha, a.dtype());
}

Tensor matmul(const Tensor& a, const Tensor& b, double alpha, DType dtype) {
  GRAFT_CHECK(a.rank() == 2 && b.rank() == 2, ShapeError, "matmul: a is ", a.shape(), ", b is ",
              b.shape(), ", matrices expected");
  GRAFT_CHECK(a.dim(1) == b.dim(0), ShapeError, "matmul: inner dimensions differ: a is ", a.shape(),
              ", b is ", b.shape());
  Tensor c = Tensor::empty({a.dim(0), b.dim(1)}, dtype, a.device());
  if (a.dim(1) == 0)
    fill_(c, 0);
  else if (c.numel() > 0)
    matmul_slot(c.device(), {readable(a).as_view(), readable(b).as_view(), c.as_view(), alpha,
                             /*accumulate=*/false});
  return c;
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b) {
  const LinearOperands operands = check_linear(x, w.shape(), bias, u, b);
  if (operands.y.numel() > 0)
    linear_slot(x.device(), {operands.x.as_view(), w.contiguous().as_view(), bias.as_view(),
                             u.as_view(), b.as_view(), as_rows(operands.y).as_view()});
  return operands.y;
}

Tensor linear_backward(const Tensor& dy, const Tensor& w, const Tensor& g, const Tensor& a) {
  const LinearBackwardOperands operands = check_linear_backward(dy, w.shape(), g, a);
  if (operands.dx.numel() > 0)
    linear_backward_slot(dy.device(), {operands.dy.as_view(), w.contiguous().as_view(), g.as_view(),
                                       a.as_view(), as_rows(operands.dx).as_view()});
  return operands.dx;
}

}  // namespace ops
}  // namespace graft
