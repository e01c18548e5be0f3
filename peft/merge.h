// Merging: the numbers of a base layer and of its adapters in one layer of its own.
//
// Everything is added up in the dtype of adapters and rounded once. The base is not written. Where
// its weight is streamed, so is the sum: it is made whenever it is read, from the base as it is
// then.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/nn/embedding.h"
#include "graft/nn/linear.h"
#include "graft/peft/delta.h"
#include "graft/peft/original_weight.h"

namespace graft::peft {

/// How far a merged weight is from the sum of the weight and what the adapters change; of the
/// original weight, where that is asked for.
struct MergeError {
  std::string path;      ///< of the weight
  double relative = 0;   ///< ‖merged - sum‖ / ‖sum‖; 0 where the sum is
  double of_change = 0;  ///< ‖merged - sum‖ / ‖the change‖; 0 where that is 0
};

struct MergeOptions {
  /// Sums on weights in 4 bits are put in 4 bits again, as the base holds them. Else they are
  /// dense.
  bool requantize = false;
  /// Asked what a weight in 4 bits was before; the change is added to that. A weight that cannot
  /// have become the base's is an error.
  OriginalWeight original_weight{};
  /// Of dense sums; unset: that of the base's weight.
  std::optional<DType> dtype{};
  /// Told of each weight that is merged; of a streamed one, each time it is read.
  std::function<void(const MergeError&)> on_merged{};
};

struct MergeRequest {
  const std::vector<std::string>& names;
  /// Path of the layer.
  const std::string& path;
  /// What the adapters override of the base takes its place. Else the result is meant for forwards
  /// that leave overridden parameters to the base.
  bool with_overrides = false;
  MergeOptions options{};
  /// Lives as long as a streamed sum is read, which needs the layer that was asked for it.
  std::shared_ptr<void> keep{};
};

/// The deltas of a layer as they are.
using Deltas = std::function<std::vector<NamedDelta>()>;

/// The overrides of a parameter that the names bring. Throws ConfigError where several replace the
/// same numbers.
nn::ChosenOverrides overrides_of(nn::Member& parameter, const std::vector<std::string>& names);
/// The numbers of a parameter in the dtype of adapters, overridden or not. Shares storage with
/// what is not changed.
Tensor overridden_value(nn::Member& parameter, const nn::ChosenOverrides& overrides);

/// A linear layer with the base's numbers and the deltas, and with a bias where the base or a delta
/// has one. Throws NonFiniteError; ConfigError where an original weight is not the base's.
std::unique_ptr<nn::Linear> merged_linear(nn::Linear& base, const Deltas& deltas,
                                          const MergeRequest& request);
std::unique_ptr<nn::Embedding> merged_embedding(nn::Embedding& base, const Deltas& deltas,
                                                const MergeRequest& request);

}  // namespace graft::peft
