// Merging: the numbers of a base layer and of its adapters in one layer of its own.
//
// Everything is added up in the dtype of adapters and rounded once. The base is not written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graft/nn/embedding.h"
#include "graft/nn/linear.h"
#include "graft/peft/delta.h"

namespace graft::peft {

struct MergeRequest {
  const std::vector<std::string>& names;
  /// Path of the layer, for messages.
  const std::string& path;
  /// What the adapters override of the base takes its place. Else the result is meant for forwards
  /// that leave overridden parameters to the base.
  bool with_overrides = false;
};

/// The override of a parameter that one of the names brings, or nullptr. Throws ConfigError where
/// several do.
const nn::Override* override_of(nn::Member& parameter, const std::vector<std::string>& names);
/// The numbers of a parameter in the dtype of adapters, overridden or not. Shares storage with
/// what is not changed.
Tensor overridden_value(nn::Member& parameter, const nn::Override* override_);

/// A linear layer with the base's numbers and the deltas, and with a bias where the base or a delta
/// has one. Throws NonFiniteError.
std::unique_ptr<nn::Linear> merged_linear(nn::Linear& base, const std::vector<NamedDelta>& deltas,
                                          const MergeRequest& request);
std::unique_ptr<nn::Embedding> merged_embedding(nn::Embedding& base,
                                                const std::vector<NamedDelta>& deltas,
                                                const MergeRequest& request);

}  // namespace graft::peft
