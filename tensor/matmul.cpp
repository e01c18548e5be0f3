#include "graft/tensor/matmul.h"

#include "graft/tensor/check.h"
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

/// A low-rank pair is given whole or not at all.
void check_pair(const char* operation, const Tensor& left, const Tensor& right, int64_t rows,
                int64_t columns, int right_dimension) {
  GRAFT_CHECK(left.defined() == right.defined(), ShapeError, operation,
              ": one matrix of a low-rank term is missing");
  if (!left.defined())
    return;
  GRAFT_CHECK(left.rank() == 2 && right.rank() == 2 && left.dim(0) == rows &&
                  right.dim(right_dimension) == columns &&
                  left.dim(1) == right.dim(1 - right_dimension),
              ShapeError, operation, ": low-rank term ", left.shape(), " and ", right.shape(),
              " for ", rows, " rows and ", columns, " columns");
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
  GRAFT_CHECK(w.rank() == 2 && x.rank() >= 1 && x.dim(-1) == w.dim(1), ShapeError, "linear: x is ",
              x.shape(), ", the weight is ", w.shape());
  const Tensor rows = as_rows(x);
  if (bias.defined())
    check_shape("linear", "bias", bias, {w.dim(0)});
  check_pair("linear", u, b, rows.dim(0), w.dim(0), 0);
  Tensor y = Tensor::empty(x.shape().with(-1, w.dim(0)), x.dtype(), x.device());
  if (y.numel() > 0)
    linear_slot(x.device(), {rows.as_view(), w.contiguous().as_view(), bias.as_view(), u.as_view(),
                             b.as_view(), as_rows(y).as_view()});
  return y;
}

Tensor linear_backward(const Tensor& dy, const Tensor& w, const Tensor& g, const Tensor& a) {
  GRAFT_CHECK(w.rank() == 2 && dy.rank() >= 1 && dy.dim(-1) == w.dim(0), ShapeError,
              "linear_backward: dy is ", dy.shape(), ", the weight is ", w.shape());
  const Tensor rows = as_rows(dy);
  check_pair("linear_backward", g, a, rows.dim(0), w.dim(1), 1);
  Tensor dx = Tensor::empty(dy.shape().with(-1, w.dim(1)), dy.dtype(), dy.device());
  if (dx.numel() > 0)
    linear_backward_slot(dy.device(), {rows.as_view(), w.contiguous().as_view(), g.as_view(),
                                       a.as_view(), as_rows(dx).as_view()});
  return dx;
}

}  // namespace ops
}  // namespace graft
