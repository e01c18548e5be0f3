// What `graft inspect` finds, by kind of thing: rows for people and the same as JSON.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/json.h"

namespace graft::cli {

struct Inspection {
  std::string kind;  ///< "model", "adapter", "data set", "checkpoint", "tensors"
  std::vector<std::pair<std::string, std::string>> rows;
  std::shared_ptr<const io::Json> json;  ///< an object
};

// Each throws FormatError where the thing is damaged, ConfigError where graft does not support it,
// and IoError.

/// A Hugging Face folder or a GGUF file. Reads the headers, not the weights.
Inspection inspect_model(const std::filesystem::path& path);
/// A folder with adapter_config.json, and the run that made it where graft did.
Inspection inspect_adapter(const std::filesystem::path& folder);
/// A checkpoint of a run; all its files are verified.
Inspection inspect_checkpoint(const std::filesystem::path& folder);
/// A .safetensors file.
Inspection inspect_tensors(const std::filesystem::path& file);
/// A .jsonl file, or a folder with train.jsonl. Tokens are counted where `model` is not empty.
Inspection inspect_data(const std::filesystem::path& path, const std::string& model);

}  // namespace graft::cli
