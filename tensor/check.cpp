#include "graft/tensor/check.h"

namespace graft {

void check_same(const char* operation, const Tensor& a, const Tensor& b) {
  GRAFT_CHECK(a.defined() && b.defined(), ShapeError, operation, ": a tensor is undefined");
  GRAFT_CHECK(a.shape() == b.shape(), ShapeError, operation, ": shapes differ: ", a.shape(),
              " and ", b.shape());
  GRAFT_CHECK(a.dtype() == b.dtype(), DTypeError, operation, ": dtypes differ: ", a.dtype(),
              " and ", b.dtype());
  GRAFT_CHECK(a.device() == b.device(), DeviceError, operation, ": devices differ: ", a.device(),
              " and ", b.device());
}

void check_dtype(const char* operation, const char* what, const Tensor& x, DType wanted) {
  GRAFT_CHECK(x.dtype() == wanted, DTypeError, operation, ": ", what, " is ", x.dtype(), ", ",
              wanted, " expected");
}

void check_shape(const char* operation, const char* what, const Tensor& x, const Shape& wanted) {
  GRAFT_CHECK(x.shape() == wanted, ShapeError, operation, ": ", what, " is ", x.shape(), ", ",
              wanted, " expected");
}

Tensor as_rows(const Tensor& x) {
  GRAFT_CHECK(x.rank() >= 1, ShapeError, "a scalar was given where rows are expected");
  const int64_t width = x.dim(-1);
  const int64_t rows = width == 0 ? 0 : x.numel() / width;
  return x.contiguous().view(Shape{rows, width});
}

}  // namespace graft
