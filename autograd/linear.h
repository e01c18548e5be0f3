// The product of a Linear, with the low-rank terms of its adapters fused in.
#pragma once

#include <span>

#include "graft/autograd/variable.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/dropout.h"
#include "graft/tensor/packed_tensor.h"

namespace graft {

/// One adapter's part of a product: scale · (dropout(x) aᵀ) bᵀ, with a (R,K) and b (N,R).
struct LowRank {
  Variable a, b;
  double scale = 1;
  DropoutKey dropout{};
  /// (n) i64: the rows of x that the term applies to, counted over all leading dimensions, each
  /// once; undefined: all of them.
  Tensor rows{};
};

/// y = x wᵀ + bias + Σ scale · (dropout(x) aᵀ) bᵀ. x (…, K), w (N,K), bias (N) or undefined -> (…,
/// N) in x's dtype; a and b are f32 (f64 where x is). Of each term only u = x aᵀ is kept for
/// backward; x is kept once, and only where w or some a needs a gradient.
Variable linear(const Variable& x, const Variable& w, const Variable& bias,
                std::span<const LowRank> terms = {});
/// The same with a frozen weight in panels or in 4 bits: no gradient goes into it.
Variable linear(const Variable& x, const PackedTensor& w, const Variable& bias,
                std::span<const LowRank> terms = {});
Variable linear(const Variable& x, const quant::QuantizedTensor& w, const Variable& bias,
                std::span<const LowRank> terms = {});

}  // namespace graft
