// Context: what a forward needs beyond its input. Nothing else influences a forward.
//
// A value, passed down as const&. checkpoint() keeps a copy, so that a recomputation sees what the
// forward saw, even if an adapter was switched in between.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "graft/tensor/dropout.h"
#include "graft/tensor/tensor.h"

namespace graft::nn {

class KvCache;

/// Stands in AdapterSelection::by_row for a row that the base model computes alone; PEFT's name.
inline constexpr std::string_view base_row = "__base__";

/// Where an adapter applies that leaves the beginning of a text to the base model.
struct AdapterPart {
  /// In `starts`: the adapter does not apply to the row.
  static constexpr int64_t nowhere = std::numeric_limits<int64_t>::max();

  std::string adapter;
  /// Of each row, the number of the first token of its text that the adapter applies to. Empty
  /// where that is yet to be found in the ids of the forward, which are whole texts then.
  std::vector<int64_t> starts{};
  /// (n) i64 into B·T: the tokens of this forward that it applies to. Undefined until the model has
  /// seen the ids.
  Tensor tokens{};
};

/// Which adapters apply: the same ones for all rows of the batch, or one adapter for each row.
struct AdapterSelection {
  /// Their contributions add up; an empty list means the base model alone.
  std::vector<std::string> names;
  /// The adapter of each row, or base_row; empty where `names` counts for all rows. Not both.
  std::vector<std::string> by_row{};
  /// Of the adapters among these that apply to a part of each text only; found by the model.
  std::vector<AdapterPart> parts{};

  /// The part of an adapter, or nullptr.
  const AdapterPart* part_of(std::string_view name) const {
    const auto found = std::ranges::find(parts, name, &AdapterPart::adapter);
    return found == parts.end() ? nullptr : &*found;
  }
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
    const auto pick = [&](const auto& values) {
      std::remove_cvref_t<decltype(values)> kept;
      for (size_t i = 0; i < rows.size() && !values.empty(); ++i)
        kept.push_back(values[static_cast<size_t>(rows[i])]);
      return kept;
    };
    AdapterSelection picked{.names = names, .by_row = pick(by_row)};
    for (const AdapterPart& part : parts)
      picked.parts.push_back({.adapter = part.adapter, .starts = pick(part.starts)});
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
