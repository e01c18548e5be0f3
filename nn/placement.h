// Placement: where the tokens of one forward stand. The same for all layers, so it is made once.
#pragma once

#include <cstdint>
#include <vector>

#include "graft/nn/context.h"
#include "graft/tensor/rope.h"

namespace graft::nn {

/// A rotary position embedding: the angle per position of each pair of elements of a head.
struct Rotary {
  std::vector<double> inv_freq;  ///< head_dim / 2 angles
  double attention_scaling = 1;  ///< factor of sine and cosine
};

/// inv_freq[i] = theta^(-2i / head_dim), rounded to f32 as transformers does. Throws ConfigError
/// where head_dim is odd or theta is not positive.
Rotary default_rotary(int64_t head_dim, double theta);

/// What attention needs to know of its tokens.
struct Placement {
  ops::RopeTables rope;  ///< one row per token
  Tensor start{};        ///< (B) i64: tokens of each row in the cache; undefined without one
  Tensor segments{};     ///< (B,T) i64; undefined for one document a row
};

/// The placement of (B,T) tokens of `dtype` activations under the context's positions, segments and
/// cache. Throws ShapeError where those do not fit B and T.
Placement place(const Rotary& rotary, int64_t batch, int64_t length, DType dtype,
                const Context& context);

}  // namespace graft::nn
