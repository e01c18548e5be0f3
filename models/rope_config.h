// Rotary settings in config.json: `rope_theta` and `rope_scaling` of transformers 4, or
// `rope_parameters` of transformers 5.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "graft/io/json.h"
#include "graft/nn/rotary.h"

namespace graft::models {

/// What a family's configuration says besides the dictionary.
struct RopeDefaults {
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double theta = 10000;
  /// The family rotates a part of each head where `partial_rotary_factor` is below 1; in the others
  /// such a value is refused.
  bool partial = false;
  /// "su" and "yarn" are old names of longrope.
  bool old_longrope_names = false;
  /// `original_max_position_embeddings` where it does not stand outside; one inside then counts for
  /// nothing.
  std::optional<int64_t> original_positions{};
};

/// Reads the rotary settings of a whole model. As transformers 5 does: a `rope_scaling` goes before
/// `rope_parameters`, a theta inside either before the one outside. Throws FormatError where a key
/// is missing or of the wrong kind, ConfigError for a kind or an option graft has not.
nn::RopeConfig read_rope(const io::JsonObject& json, const RopeDefaults& defaults);

/// Reads one dictionary of settings: `rope_scaling`, `rope_parameters` or one layer type's part.
nn::RopeConfig read_rope_parameters(const io::JsonObject& parameters, const RopeDefaults& defaults);

/// The settings as transformers 5 writes them in `rope_parameters`.
io::Json rope_parameters_json(const nn::RopeConfig& config, int64_t head_dim);

/// Writes the settings of a whole model so that transformers 4 and 5 read them.
void write_rope(const nn::RopeConfig& config, int64_t head_dim, io::Json& json);

/// How many positions the settings reach, given the model's `max_position_embeddings`.
int64_t reachable_positions(const nn::RopeConfig& config);

/// Throws FormatError where the settings cannot be.
void check_rope(const nn::RopeConfig& config, std::string_view file);

}  // namespace graft::models
