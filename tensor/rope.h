// Rotary position embedding (Su et al. 2021, arXiv:2104.09864), in the half-split layout of the
// Hugging Face checkpoints: of a head's first R elements, i is rotated with i + R/2.
#pragma once

#include <vector>

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y = x with the first R elements of each head rotated by the angles whose cosine and sine are
/// given, the others as they are; `inverse` rotates the other way, as gradients do. x, y (tokens,
/// H, D) row-major; cos, sin (tokens, R/2) f32 (f64 for f64), R <= D.
struct RopeArgs {
  TensorView x, cos, sin, y;
  bool inverse;
};
extern Slot<RopeArgs> rope_slot;

namespace ops {

struct RopeTables {
  Tensor cos, sin;
};
/// positions (…) i64, inv_freq of R/2 angles per position -> cos, sin (tokens, R/2), each
/// multiplied by `attention_scaling`. Angles are formed in f32 for f32 (as transformers does), f64
/// for f64.
RopeTables rope_tables(const Tensor& positions, const std::vector<double>& inv_freq, DType dtype,
                       double attention_scaling = 1);
/// x (B,T,H,D) -> the same shape. Elements behind the 2 · (angles per token) first ones of a head
/// stay as they are.
Tensor rope(const Tensor& x, const RopeTables& tables, bool inverse = false);

}  // namespace ops
}  // namespace graft
