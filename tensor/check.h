// Checks that several operations make of their arguments.
#pragma once

#include "graft/tensor/tensor.h"

namespace graft {

/// Throws ShapeError, DTypeError or DeviceError unless a and b have one shape, dtype and device.
void check_same(const char* operation, const Tensor& a, const Tensor& b);

/// Throws DTypeError unless x has that dtype.
void check_dtype(const char* operation, const char* what, const Tensor& x, DType wanted);

/// Throws ShapeError unless x has that shape.
void check_shape(const char* operation, const char* what, const Tensor& x, const Shape& wanted);

/// x (…, D) as rows of a row-major matrix (rows, D), sharing storage where x is contiguous.
Tensor as_rows(const Tensor& x);

}  // namespace graft
