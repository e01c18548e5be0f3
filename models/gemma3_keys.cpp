#include "graft/models/gemma3_keys.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/models/llama_keys.h"
#include "graft/models/rope_config.h"

namespace graft::models {
namespace {

constexpr const char* full_attention = "full_attention";
constexpr const char* sliding_attention = "sliding_attention";

/// Every layer has a window but each `pattern`-th.
void read_windows(const io::JsonObject& json, DecoderConfig& config) {
  constexpr int64_t usual_window = 4096;
  constexpr int64_t usual_pattern = 6;
  read_window(json, usual_window, config);
  if (config.window == 0)
    throw json.wrong("sliding_window", "a number above 0");
  const int64_t pattern = json.integer_or("sliding_window_pattern", usual_pattern, count_limits);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    config.windowed[static_cast<size_t>(layer)] = (layer + 1) % pattern != 0;
  read_layer_types(json, config);
}

/// The settings of one kind of layers: from `rope_parameters`, with `more` written over them and
/// the theta that stands outside in the place of a missing one.
nn::RopeConfig read_layer_rope(const io::JsonObject& json, const std::string& layer_type,
                               const std::string& theta_key, const io::Json& more,
                               RopeDefaults defaults) {
  io::Json parameters = io::Json::object();
  if (json.has("rope_parameters")) {
    const io::JsonObject given = json.object("rope_parameters");
    for (const std::string& key : given.keys())
      GRAFT_CHECK(key == full_attention || key == sliding_attention, ConfigError, json.file(), ": ",
                  given.path_of(key),
                  " is not supported; settings by layer type expected: ", full_attention, ", ",
                  sliding_attention);
    if (given.has(layer_type) && given.object(layer_type).keys().size() > 0)
      parameters = given.value(layer_type);
  }
  for (const auto& [key, value] : more.items())
    parameters[key] = value;
  if (json.has(theta_key) && !parameters.contains("rope_theta"))
    parameters["rope_theta"] = json.value(theta_key);
  const io::JsonObject settings(parameters, json.file(), "rope_parameters." + layer_type);
  GRAFT_CHECK(settings.boolean_or("truncate", true), ConfigError, json.file(), ": ",
              settings.path_of("truncate"), " is false, which is not supported");
  return read_rope_parameters(settings, defaults);
}

void read_ropes(const io::JsonObject& json, DecoderConfig& config) {
  RopeDefaults defaults = rope_defaults(config);
  io::Json scaling = io::Json::object();
  if (json.has("rope_scaling") && json.object("rope_scaling").keys().size() > 0)
    scaling = json.value("rope_scaling");
  defaults.theta = 1e6;
  const nn::RopeConfig full =
      read_layer_rope(json, full_attention, "rope_theta", scaling, defaults);
  defaults.theta = 1e4;
  config.ropes = {full, read_layer_rope(json, sliding_attention, "rope_local_base_freq",
                                        io::Json::object(), defaults)};
}

}  // namespace

void read_gemma3(const io::JsonObject& json, DecoderConfig& config) {
  constexpr int64_t usual_scalar = 256;
  read_llama_keys(json, config);
  read_attention_bias(json, config);
  read_windows(json, config);
  read_ropes(json, config);
  const int64_t scalar = json.integer_or("query_pre_attn_scalar", usual_scalar, size_limits);
  config.attention_scale = 1 / std::sqrt(static_cast<double>(scalar));
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
}

void write_gemma3(const DecoderConfig& config, io::Json& json) {
  write_llama_keys(config, json);
  write_attention_bias(config, json);
  write_window(config, json);
  write_layer_types(config, json);
  const double scale = config.attention_scale.value();
  json["query_pre_attn_scalar"] = std::llround(1 / (scale * scale));
  // transformers 4 reads these three, 5 the dictionary.
  write_rope(config.ropes.at(0), config.head_dim, json);
  json["rope_local_base_freq"] = config.ropes.at(1).theta;
  json["rope_parameters"] = {
      {full_attention, rope_parameters_json(config.ropes[0], config.head_dim)},
      {sliding_attention, rope_parameters_json(config.ropes[1], config.head_dim)}};
}

}  // namespace graft::models
