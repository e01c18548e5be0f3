// Context: what a forward needs beyond its input. Nothing else influences a forward.
//
// A value, passed down as const&. checkpoint() keeps a copy, so that a recomputation sees what the
// forward saw, even if an adapter was switched in between.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/tensor/dropout.h"
#include "graft/tensor/tensor.h"

namespace graft::nn {

class KvCache;

/// Stands in AdapterSelection::by_row for a row that the base model computes alone; PEFT's name.
inline constexpr std::string_view base_row = "__base__";

/// Which adapters apply: the same ones for all rows of the batch, or one adapter for each row.
struct AdapterSelection {
  /// Their contributions add up; an empty list means the base model alone.
  std::vector<std::string> names;
  /// The adapter of each row, or base_row; empty where `names` counts for all rows. Not both.
  std::vector<std::string> by_row{};

  /// True where the adapter applies to some row.
  bool applies(std::string_view name) const {
    return std::ranges::find(names, name) != names.end() ||
           std::ranges::find(by_row, name) != by_row.end();
  }
  /// True where not every row has the same.
  bool differs_by_row() const {
    return std::ranges::any_of(by_row, [&](const auto& name) { return name != by_row[0]; });
  }
  /// The selection for some of the rows.
  AdapterSelection of_rows(std::span<const int64_t> rows) const {
    AdapterSelection picked{.names = names};
    for (size_t i = 0; i < rows.size() && !by_row.empty(); ++i)
      picked.by_row.push_back(by_row[static_cast<size_t>(rows[i])]);
    return picked;
  }
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
