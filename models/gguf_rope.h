// Rotary settings of GGUF files: metadata, and tables of factors that stand among the tensors.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/models/decoder_config.h"
#include "graft/models/gguf_keys.h"
#include "graft/models/gguf_metadata.h"
#include "graft/nn/rotary.h"
#include "graft/tensor/tensor.h"

namespace graft::models {

/// True for the tables of factors, which belong to the configuration, not to the weights.
bool is_gguf_rope_table(std::string_view tensor);

/// Reads the settings of a model with `rope.dim` (where the file does not say), and
/// `rope.max_positions`. The factors of Llama 3.1 and its successors stand in rope_freqs.weight:
/// they become the settings that give them where those are found, else a list. Throws FormatError
/// where a value is missing or wrong, ConfigError for what graft has not.
nn::RopeConfig read_gguf_rope(const GgufMetadata& metadata, nn::RopeConfig rope);

/// Writes the settings of a model, but for what stands in tables. Throws ConfigError for kinds that
/// the format has not.
void write_gguf_rope(const nn::RopeConfig& rope, GgufKeys& keys);
/// The tables of factors of a model by their names; f32.
std::vector<std::pair<std::string, Tensor>> gguf_rope_tables(const DecoderConfig& config);

/// True where both turn every position by the same angles, but for the rounding of tables.
bool same_rotation(const std::vector<nn::RopeConfig>& a, const std::vector<nn::RopeConfig>& b);

}  // namespace graft::models
