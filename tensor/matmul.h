// Matrix products: the general one, and the fused ones a Linear needs.
//
// Operands may be f32, bf16, f16 or f64 (f64 only with f64) and need not agree: products are
// accumulated in f32 (f64) and rounded once into the result. Results do not depend on the number of
// threads: the output is cut into tiles of fixed size.
#pragma once

#include "graft/tensor/dropout.h"
#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// c (M,N) = alpha · a (M,K) b (K,N), plus the old c where `accumulate`. a and b have any strides
/// with one of the two equal to 1; c is row-major.
struct MatmulArgs {
  TensorView a, b, c;
  double alpha;
  bool accumulate;
};
/// y (M,N) = x (M,K) wᵀ + bias + u bᵀ, with w (N,K), bias (N) or absent, u (M,R) and b (N,R) f32
/// (f64) or absent. All row-major.
struct LinearArgs {
  TensorView x, w, bias, u, b, y;
};
/// dx (M,K) = dy (M,N) w + g a, with w (N,K), g (M,R) and a (R,K) f32 (f64) or absent. All
/// row-major.
struct LinearBackwardArgs {
  TensorView dy, w, g, a, dx;
};
extern Slot<MatmulArgs> matmul_slot;
extern Slot<LinearArgs> linear_slot;
extern Slot<LinearBackwardArgs> linear_backward_slot;

namespace ops {

/// a (M,K), b (K,N) -> (M,N). The result has `dtype`, or a's where none is given. Transposed views
/// are read in place.
Tensor matmul(const Tensor& a, const Tensor& b, double alpha = 1);
Tensor matmul(const Tensor& a, const Tensor& b, double alpha, DType dtype);

/// x (…, K), w (N,K), bias (N) or undefined, u (M,R) and b (N,R) or undefined -> (…, N) in x's
/// dtype.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b);
/// dy (…, N), w (N,K), g (M,R) and a (R,K) or undefined -> (…, K) in dy's dtype.
Tensor linear_backward(const Tensor& dy, const Tensor& w, const Tensor& g, const Tensor& a);

}  // namespace ops
}  // namespace graft
