// Dropout without state: the mask is a function of a key and a position and is never stored.
//
// A token's mask depends on (seed, step, number of its sample in the data, position in the sample,
// module), so it does not change with batch size, accumulation, order or threads, and backward and
// recomputation make the same one again.
#pragma once

#include <cstdint>

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// Everything a dropout mask depends on. `sample` and `position` (rows) i64 name each row of x.
struct DropoutKey {
  double p = 0;  ///< probability of zeroing an element; 0 switches dropout off
  uint64_t seed = 0;
  uint32_t step = 0;    ///< optimizer step
  uint32_t module = 0;  ///< which dropout of the model
  Tensor sample{};
  Tensor position{};
};

/// y = x · mask / (1 - p). x, y (rows, width) row-major.
struct DropoutArgs {
  TensorView x, sample, position, y;
  double p;
  uint64_t seed;
  uint32_t step, module;
};
extern Slot<DropoutArgs> dropout_slot;

namespace ops {

/// x (…, width) -> the same shape; the leading sizes multiply to the key's rows. Its own gradient:
/// dx = dropout(dy, key). Returns x itself where p is 0.
Tensor dropout(const Tensor& x, const DropoutKey& key);

}  // namespace ops
}  // namespace graft
