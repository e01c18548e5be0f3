#include "graft/tensor/check_linear.h"

#include "graft/tensor/check.h"

namespace graft {
namespace {

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

LinearOperands check_linear(const Tensor& x, const Shape& w, const Tensor& bias, const Tensor& u,
                            const Tensor& b) {
  GRAFT_CHECK(w.rank() == 2 && x.rank() >= 1 && x.dim(-1) == w[1], ShapeError, "linear: x is ",
              x.shape(), ", the weight is ", w);
  const Tensor rows = as_rows(x);
  if (bias.defined())
    check_shape("linear", "bias", bias, {w[0]});
  check_pair("linear", u, b, rows.dim(0), w[0], 0);
  return {rows, Tensor::empty(x.shape().with(-1, w[0]), x.dtype(), x.device())};
}

LinearBackwardOperands check_linear_backward(const Tensor& dy, const Shape& w, const Tensor& g,
                                             const Tensor& a) {
  GRAFT_CHECK(w.rank() == 2 && dy.rank() >= 1 && dy.dim(-1) == w[0], ShapeError,
              "linear_backward: dy is ", dy.shape(), ", the weight is ", w);
  const Tensor rows = as_rows(dy);
  check_pair("linear_backward", g, a, rows.dim(0), w[1], 1);
  return {rows, Tensor::empty(dy.shape().with(-1, w[1]), dy.dtype(), dy.device())};
}

}  // namespace graft
