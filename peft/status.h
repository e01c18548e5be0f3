// Status: which adapters a model has, and what is on and off.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft::peft {

/// One adapted layer. Each list is in the order in which the adapters were added.
struct LayerStatus {
  std::string path;
  std::string module_type;  ///< "linear" or "embedding"
  bool enabled = true;      ///< false while disable_adapter() is in force
  std::vector<std::string> available_adapters;
  std::vector<std::string> active_adapters;
  std::vector<std::string> merged_adapters;
  std::vector<std::string> trainable_adapters;

  friend bool operator==(const LayerStatus&, const LayerStatus&) = default;
};

/// The model as a whole. The lists hold for all layers: those that an adapter does not target do
/// not count against it.
struct ModelStatus {
  std::string base_model_type;  ///< class of the base model, "LlamaForCausalLM"
  int64_t adapted_layers = 0;
  int64_t trainable_parameters = 0;
  int64_t all_parameters = 0;
  bool enabled = true;
  std::vector<std::string> available_adapters;
  std::vector<std::string> active_adapters;
  std::vector<std::string> merged_adapters;
  std::vector<std::string> trainable_adapters;
};

}  // namespace graft::peft
