// Combining adapters from their folders, without the model they are for.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "graft/peft/combine.h"
#include "graft/peft/config.h"
#include "graft/peft/matching.h"
#include "graft/tensor/tensor.h"

namespace graft::peft {

/// The folder of an adapter, the name it goes by, and its weight.
struct WeightedFolder {
  std::string name;
  std::filesystem::path folder;
  double weight = 1;
};

/// A combination, ready to be saved.
struct CombinedFiles {
  LoraConfig config;
  std::vector<std::pair<std::string, Tensor>> tensors{};  ///< by their keys
  CombineReport report{};

  /// Writes adapter_config.json, adapter_model.safetensors and README.md into a folder that exists.
  /// Throws IoError.
  void save(const std::filesystem::path& folder) const;
};

/// Combines as PeftModel::add_weighted_adapter does. Throws as that and load_adapter do, and
/// ConfigError where adapters hold more than low-rank matrices and their biases, or one pair of
/// matrices for head and embedding: what becomes of those depends on the model.
CombinedFiles combine_files(const std::vector<WeightedFolder>& folders,
                            const CombineOptions& options, const RegexMatcher& matcher);

}  // namespace graft::peft
