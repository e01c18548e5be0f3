// Elementwise operations and changes of shape, with gradients.
#pragma once

#include "graft/autograd/variable.h"
#include "graft/tensor/pointwise.h"

namespace graft {

/// a + b; equal shapes and dtypes.
Variable add(const Variable& a, const Variable& b);
/// a · b, elementwise.
Variable mul(const Variable& a, const Variable& b);
/// factor · x.
Variable scale(const Variable& x, double factor);
/// silu(gate) · up.
Variable swiglu(const Variable& gate, const Variable& up);
/// gelu(gate) · up.
Variable geglu(const Variable& gate, const Variable& up, GeluKind kind);
/// gelu(x), elementwise.
Variable gelu(const Variable& x, GeluKind kind);
/// x in another floating dtype, rounded once; x itself where it has that dtype already.
Variable to(const Variable& x, DType dtype);
/// Σ x, a scalar of x's dtype.
Variable sum(const Variable& x);
/// The same elements in another shape; one size may be -1.
Variable view(const Variable& x, std::initializer_list<int64_t> sizes);
/// x (M,N) -> (N,M), sharing storage.
Variable transpose(const Variable& x);

}  // namespace graft
