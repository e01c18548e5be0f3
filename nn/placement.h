// Placement: where the tokens of one forward stand. The same for all layers, so it is made once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graft/nn/context.h"
#include "graft/nn/rotary.h"
#include "graft/tensor/rope.h"

namespace graft::nn {

/// What attention needs to know of its tokens.
struct Placement {
  /// Sine and cosine by each of the model's rotary embeddings, one row per token.
  std::vector<ops::RopeTables> ropes;
  Tensor positions{};  ///< (B,T) i64
  Tensor start{};      ///< (B) i64: tokens of each row in the cache; undefined without one
  Tensor segments{};   ///< (B,T) i64; undefined for one document a row
};

/// The placement of (B,T) tokens of `dtype` activations under the context's positions, segments and
/// cache. Where a rotary depends on the length of the text, that is one more than the largest
/// position in the token's row, or in its segment where there are several. Throws ShapeError where
/// positions, segments or cache do not fit B and T.
Placement place(std::span<const Rotary> rotaries, int64_t batch, int64_t length, DType dtype,
                const Context& context);

}  // namespace graft::nn
