// A model folder as `convert`, `merge` and `quantize` write it: all files appear together, or none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "graft/cli/run_folder.h"
#include "graft/models/save.h"
#include "graft/nn/causal_lm.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

/// What stands beside the weights.
struct ModelFolder {
  std::filesystem::path out;
  OutPolicy policy = OutPolicy::must_be_empty;
  const text::Tokenizer* tokenizer = nullptr;  ///< nullptr where the model has none
  /// A generation_config.json to be copied; empty for none.
  std::filesystem::path generation_config{};
  /// Called with the folder of the written files before they appear; where it throws, none does.
  std::function<void(const std::filesystem::path& written)> check{};
};

/// The generation settings beside a model, or an empty path.
std::filesystem::path generation_config_of(const std::filesystem::path& model);

/// Writes model, tokenizer and generation settings to `folder.out` and returns the bytes of all
/// files. Requires: check_out_folder. Throws IoError, and what `check` and the reading of streamed
/// weights throw; the folder is then as it was.
int64_t write_model_folder(nn::CausalLM& model, const ModelFolder& folder,
                           const models::SaveOptions& options);

/// The bytes of the weights of a model: of a GGUF file with its other parts, or of the
/// weight files of a folder.
int64_t weight_bytes(const std::filesystem::path& model);

}  // namespace graft::cli
