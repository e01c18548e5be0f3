// Scaled dot product attention, grouped queries, in flash style: no T x S matrix exists, forward or
// backward (Dao et al. 2022, arXiv:2205.14135).
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// Which keys a query sees. Key j is visible to query t of row b where j <= start(b) + t, and j is
/// in the same segment, and j > start(b) + t - window where a window is set. Absent tensors: start
/// is S - T for every row; one segment.
struct AttentionMask {
  Tensor start{};      ///< (B) i64: how many keys lie before the first query of the row
  Tensor segments{};   ///< (B,S) i64: the document of each key, where T == S
  int64_t window = 0;  ///< sliding window, 0 for none
};

/// q (B,T,H,D), k, v (B,S,Hkv,D), out (B,T,H,D), lse (B,H,T) f32 (f64): log of the sum of
/// exponentials of the scaled scores. The last dimension is dense, the others have any stride. H is
/// a multiple of Hkv; query head h reads key head h / (H/Hkv).
struct AttentionArgs {
  TensorView q, k, v, start, segments;
  int64_t window;
  double scale;
  TensorView out, lse;
};
struct AttentionBackwardArgs {
  TensorView dout, q, k, v, start, segments;
  int64_t window;
  double scale;
  TensorView out, lse, dq, dk, dv;
};
extern Slot<AttentionArgs> attention_slot;
extern Slot<AttentionBackwardArgs> attention_backward_slot;

namespace ops {

struct Attention {
  Tensor out, lse;
};
/// softmax(scale · q kᵀ + mask) v. A query that sees no key gives zeros.
Attention attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionMask& mask,
                    double scale);
struct AttentionGrads {
  Tensor dq, dk, dv;
};
AttentionGrads attention_backward(const Tensor& dout, const Tensor& q, const Tensor& k,
                                  const Tensor& v, const AttentionMask& mask, double scale,
                                  const Attention& forward);

}  // namespace ops
}  // namespace graft
