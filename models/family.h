// Families: what the decoders of one design have in common, as rows of a table.
//
// A family is a table of differences, not a class: its names in config.json and in GGUF files, and
// the keys of config.json that only it has. Everything else is DecoderConfig and Decoder.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"

namespace graft::models {

struct Family {
  std::string_view model_type;    ///< "llama"
  std::string_view architecture;  ///< "LlamaForCausalLM"
  /// general.architecture of GGUF files.
  std::string_view gguf_architecture;
  /// Of each head's rows of q and k, GGUF files hold rows i and i + D/2 next to each other.
  bool gguf_interleaves_rotary = false;
  /// Reads the keys that not every family has.
  void (*read)(const io::JsonObject& json, DecoderConfig& config) = nullptr;
  /// Writes them.
  void (*write)(const DecoderConfig& config, io::Json& json) = nullptr;
};

/// All families graft has.
std::span<const Family> families();

/// The family of a config.json, by `architectures` and `model_type`. Throws ConfigError that names
/// what was found and what is supported.
const Family& family_of(const io::JsonObject& json);

/// The family of a GGUF architecture; throws as above.
const Family& family_of_gguf(std::string_view file, std::string_view architecture);

}  // namespace graft::models
