// Attention, with gradients.
#pragma once

#include "graft/autograd/variable.h"
#include "graft/tensor/attention.h"

namespace graft {

/// softmax(scale · q kᵀ + mask) v. q (B,T,H,D), k, v (B,S,Hkv,D) -> (B,T,H,D). Keeps q, k, v, the
/// result and one number per query and head.
Variable scaled_dot_product_attention(const Variable& q, const Variable& k, const Variable& v,
                                      const AttentionMask& mask, double scale);

}  // namespace graft
