// The layers of an adapter as its files alone tell them, without the model they are for.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/peft/config.h"
#include "graft/peft/matching.h"
#include "graft/tensor/tensor.h"

namespace graft::peft {

/// The low-rank matrices of one layer, in the dtype of the file.
struct AdapterLayer {
  bool is_embedding = false;
  Tensor a;       ///< (r, in), of an embedding (r, vocabulary)
  Tensor b;       ///< (out, r), of an embedding (hidden, r)
  Tensor bias{};  ///< (out), of lora_bias; undefined where there is none
};

/// By the paths of the modules.
using AdapterLayers = std::map<std::string, AdapterLayer>;

/// An adapter's folder, read.
struct AdapterFiles {
  LoraConfig config;
  std::string file;  ///< with the tensors, for messages
  AdapterLayers layers{};
  /// Keys of what is no low-rank matrix: saved modules, biases and tokens of the model, vectors of
  /// variants. The base weights that PEFT saves along are left out.
  std::vector<std::string> others{};
};

/// Reads both files. Throws FormatError where they are damaged, where there is nothing or where A
/// and B of a layer do not fit each other; IoError.
AdapterFiles read_adapter_files(const std::filesystem::path& folder);

/// Writes adapter_config.json, adapter_model.safetensors and README.md into a folder that exists.
/// Throws IoError.
void write_adapter_files(const std::filesystem::path& folder, const LoraConfig& config,
                         std::vector<io::NamedTensor> tensors);

/// The setting by which what an adapter changes depends on its model and not on A and B alone:
/// "use_dora", "pissa", "ensure_weight_tying"; empty where there is none.
std::string setting_that_needs_model(const LoraConfig& config);

/// The factor of B·A for a layer of rank r.
double scaling_of(const LoraConfig& config, const std::string& path, int64_t r,
                  const RegexMatcher& matcher);

}  // namespace graft::peft
