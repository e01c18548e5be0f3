// What the products of a Linear check of their operands, whatever the weight is held in.
#pragma once

#include "graft/tensor/tensor.h"

namespace graft {

struct LinearOperands {
  Tensor x;  ///< as rows (M,K)
  Tensor y;  ///< (…, N), uninitialised
};
/// x (…, K), w (N,K), bias (N) or undefined, u (M,R) and b (N,R) or undefined. Throws ShapeError.
LinearOperands check_linear(const Tensor& x, const Shape& w, const Tensor& bias, const Tensor& u,
                            const Tensor& b);

struct LinearBackwardOperands {
  Tensor dy;  ///< as rows (M,N)
  Tensor dx;  ///< (…, K), uninitialised
};
/// dy (…, N), w (N,K), g (M,R) and a (R,K) or undefined. Throws ShapeError.
LinearBackwardOperands check_linear_backward(const Tensor& dy, const Shape& w, const Tensor& g,
                                             const Tensor& a);

}  // namespace graft
