// Context: what a forward needs beyond its input. Nothing else influences a forward.
//
// A value, passed down as const&. checkpoint() keeps a copy, so that a recomputation sees what the
// forward saw, even if an adapter was switched in between.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graft/tensor/dropout.h"
#include "graft/tensor/tensor.h"

namespace graft::nn {

class KvCache;

/// Which adapters apply. Their contributions add up; an empty list means the base model alone.
struct AdapterSelection {
  std::vector<std::string> names;
};

/// What dropout masks depend on besides the layer: see graft/tensor/dropout.h.
struct DropoutSource {
  uint64_t seed = 0;
  uint32_t step = 0;
  Tensor sample{};    ///< (tokens) i64: number in the data of each token's sample
  Tensor position{};  ///< (tokens) i64: position of each token in its sample

  /// The key of one dropout layer.
  DropoutKey key(double p, uint32_t module) const {
    return {.p = p,
            .seed = seed,
            .step = step,
            .module = module,
            .sample = sample,
            .position = position};
  }
};

struct Context {
  /// True while training: dropout is active.
  bool train = false;
  DropoutSource dropout{};
  /// Unset: the model's default selection.
  std::optional<AdapterSelection> adapters{};
  /// (B,T) i64: position of each token for the position embedding; undefined: 0, 1, … after what
  /// the cache holds.
  Tensor positions{};
  /// (B,T) i64: document of each token, where several share a row; undefined: one.
  Tensor segments{};
  /// Keys and values of earlier tokens; nullptr without. Not used while training.
  KvCache* cache = nullptr;
  /// Keep only the input of each block and compute the block again in backward.
  bool checkpoint_blocks = false;
};

}  // namespace graft::nn
