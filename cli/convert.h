// graft convert's flags and forms, each of which has a file of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace graft::cli {

struct ConvertFlags {
  std::string from, to = "auto", out, model;
  std::string dtype = "keep";
  bool overwrite = false;
  bool json = false;
};

/// A model as a GGUF file.
void convert_model_to_gguf(const ConvertFlags& values);
/// An adapter in PEFT's format as a GGUF file, and back.
void convert_adapter_to_gguf(const ConvertFlags& values);
void convert_adapter_to_peft(const ConvertFlags& values);

/// What --out must not lie in.
std::vector<std::filesystem::path> inputs_of(const ConvertFlags& values);
/// Throws ConfigError unless --out may be written as a GGUF file.
void check_gguf_out(const ConvertFlags& values);

}  // namespace graft::cli
