// The parts of a combination that a model with adapters and adapters in files share.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graft/peft/combine.h"
#include "graft/peft/config.h"
#include "graft/peft/delta.h"

namespace graft::peft {

/// One adapter that is combined.
struct CombineInput {
  std::string name;
  double weight = 1;
  LoraConfig config;
  std::vector<std::string> modules;  ///< paths of the layers it is on
};

/// Throws ConfigError where there are none, where one is there twice, where a weight is not finite
/// and where the configurations cannot be combined as the options say.
void check_inputs(const std::vector<CombineInput>& inputs, const CombineOptions& options);
/// The options that count: one adapter alone is weighted and nothing else.
CombineOptions options_for(const std::vector<CombineInput>& inputs, CombineOptions options);
/// The rank of the result.
int64_t combined_rank(const std::vector<CombineInput>& inputs, const CombineOptions& options);
/// The configuration of the result: the first one's, with what any of them targets.
LoraConfig combined_config(const std::vector<CombineInput>& inputs, int64_t rank, Compat compat);

/// What the adapters change in one layer, as factors or `weight`, without gains; in the order of
/// the inputs, nothing where one is not on it. Of an embedding the deltas are turned, as A and B of
/// its adapters are.
struct LayerDeltas {
  std::string path;
  bool is_embedding = false;
  std::vector<Delta> deltas;  ///< without numbers for inputs that are not on the layer
};

/// Combines layer by layer.
class CombinedAdapter {
 public:
  /// Refers to both. Requires: check_inputs and validate accept them.
  CombinedAdapter(const std::vector<CombineInput>& inputs, const CombineOptions& options,
                  int64_t rank)
      : inputs_(inputs), options_(options), rank_(rank) {}

  /// Throws NonFiniteError where an adapter is broken, and what on_layer throws.
  void add_layer(const LayerDeltas& layer, bool has_bias);
  /// A, B and biases by their keys in the adapter's file.
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  CombineReport report() const { return {.rank = rank_, .layers = layers_}; }

 private:
  const std::vector<CombineInput>& inputs_;
  const CombineOptions& options_;
  const int64_t rank_;
  std::map<std::string, Tensor> tensors_;
  std::vector<CombineReport::Layer> layers_;
};

}  // namespace graft::peft
