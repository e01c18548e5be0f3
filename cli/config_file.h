// --config files: the part of TOML that a list of flags needs.
//
//   # train.toml
//   model = "SmolLM2-135M-Instruct"
//   learning-rate = 2e-4             # underscores are accepted: learning_rate
//   target-modules = ["q_proj", "v_proj"]
//   gradient-checkpointing = true
//   [generate]                       # keys below are read by that verb only
//   temperature = 0.7
//
// Read here and not by CLI11's reader, which cuts a text at the first '#' inside its quotes and
// skips lines it does not understand.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/json.h"

namespace graft::cli {

/// One `key = value` line. A list has several values or none.
struct ConfigEntry {
  std::string key;  ///< with dashes
  std::vector<std::string> values;
  bool is_list = false;
  int64_t line = 0;
};

/// The entries of `text` that concern `verb`: those above every section and those of [verb].
/// Throws ConfigError with the line where the text is not of this form, names a key twice or has a
/// section that is none of `verbs`.
std::vector<ConfigEntry> parse_config(std::string_view text, std::string_view file,
                                      std::string_view verb, std::span<const std::string> verbs);

/// A text in quotes, as parse_config reads it back.
std::string toml_quoted(std::string_view text);

/// Settings by name as the text of a config file, one a line; what is null is left out.
std::string to_toml(const io::Json& settings);

}  // namespace graft::cli
