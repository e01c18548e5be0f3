// Rotary settings of GGUF files: metadata, and tables of factors that stand among the tensors.
#pragma once

#include <string_view>

#include "graft/models/gguf_metadata.h"
#include "graft/nn/rotary.h"

namespace graft::models {

/// True for the tables of factors, which belong to the configuration, not to the weights.
bool is_gguf_rope_table(std::string_view tensor);

/// Reads the settings of a model with `rope.dim` (where the file does not say), and
/// `rope.max_positions`. The factors of Llama 3.1 and its successors stand in rope_freqs.weight:
/// they become the settings that give them where those are found, else a list. Throws FormatError
/// where a value is missing or wrong, ConfigError for what graft has not.
nn::RopeConfig read_gguf_rope(const GgufMetadata& metadata, nn::RopeConfig rope);

}  // namespace graft::models
