#include "graft/models/rope_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "graft/models/decoder_config.h"

namespace graft::models {
namespace {

using nn::RopeConfig, nn::RopeKind;

constexpr std::array<std::pair<RopeKind, std::string_view>, 6> kind_names{
    {{RopeKind::standard, "default"},
     {RopeKind::linear, "linear"},
     {RopeKind::dynamic, "dynamic"},
     {RopeKind::llama3, "llama3"},
     {RopeKind::yarn, "yarn"},
     {RopeKind::longrope, "longrope"}}};

RopeKind kind_of(const io::JsonObject& parameters, const RopeDefaults& defaults) {
  const std::string name = parameters.text_or("rope_type", parameters.text_or("type", "default"));
  for (const auto& [kind, kind_name] : kind_names) {
    if (kind_name == name)
      return defaults.old_longrope_names && kind == RopeKind::yarn ? RopeKind::longrope : kind;
  }
  if (defaults.old_longrope_names && name == "su")
    return RopeKind::longrope;
  throw ConfigError(concat(parameters.file(), ": ", parameters.path_of("rope_type"), " is ", name,
                           ", which is not supported; supported: default, linear, dynamic, llama3, "
                           "yarn, longrope"));
}

std::string_view name_of(RopeKind kind) {
  return std::ranges::find(kind_names, kind, &std::pair<RopeKind, std::string_view>::first)->second;
}

std::optional<double> optional_number(const io::JsonObject& json, std::string_view key) {
  return json.has(key) ? std::optional(json.number(key)) : std::nullopt;
}

double positive(const io::JsonObject& json, std::string_view key) {
  const double value = json.number(key);
  if (!(value > 0) || !std::isfinite(value))
    throw json.wrong(key, "a number above 0");
  return value;
}

/// A number that is taken for missing where it is 0, as transformers does.
double number_unless_0(const io::JsonObject& json, std::string_view key, double fallback) {
  const double value = json.number_or(key, fallback);
  return value == 0 ? fallback : value;
}

void read_kind(const io::JsonObject& json, const RopeDefaults& defaults, RopeConfig& config) {
  const auto original = [&] {
    return json.integer_or("original_max_position_embeddings", defaults.max_positions, size_limits);
  };
  switch (config.kind) {
    case RopeKind::standard:
      break;
    case RopeKind::linear:
    case RopeKind::dynamic:
      config.factor = positive(json, "factor");
      break;
    case RopeKind::llama3:
      config.factor = positive(json, "factor");
      config.low_freq_factor = positive(json, "low_freq_factor");
      config.high_freq_factor = positive(json, "high_freq_factor");
      config.original_positions = original();
      break;
    case RopeKind::yarn:
      config.factor = optional_number(json, "factor");
      config.original_positions = original();
      config.attention_factor = optional_number(json, "attention_factor");
      config.beta_fast = number_unless_0(json, "beta_fast", config.beta_fast);
      config.beta_slow = number_unless_0(json, "beta_slow", config.beta_slow);
      config.mscale = optional_number(json, "mscale");
      config.mscale_all_dim = optional_number(json, "mscale_all_dim");
      config.truncate = json.boolean_or("truncate", true);
      break;
    case RopeKind::longrope:
      config.factor = optional_number(json, "factor");
      config.original_positions = original();
      config.attention_factor = optional_number(json, "attention_factor");
      config.short_factor = json.numbers("short_factor");
      config.long_factor = json.numbers("long_factor");
      break;
  }
}

/// Multimodal rotation is the standard one for text alone, but no family here is multimodal.
void refuse_sections(const io::JsonObject& parameters) {
  GRAFT_CHECK(!parameters.has("mrope_section"), ConfigError, parameters.file(), ": ",
              parameters.path_of("mrope_section"), " is set, which is not supported");
}

/// The smallest number from dim / head_dim on whose product with head_dim is cut to dim again.
double part_of(int64_t dim, int64_t head_dim) {
  double part = static_cast<double>(dim) / static_cast<double>(head_dim);
  while (static_cast<int64_t>(static_cast<double>(head_dim) * part) < dim)
    part = std::nextafter(part, 1.0);
  return part;
}

/// The keys of `rope_scaling` as transformers 4 wants them: without theta.
io::Json scaling_json(io::Json parameters) {
  parameters.erase("rope_theta");
  parameters.erase("partial_rotary_factor");
  if (parameters["rope_type"] == "longrope") {
    // Its reader takes exactly `type` and the two lists; the rest stands beside the dictionary.
    parameters.erase("rope_type");
    parameters.erase("original_max_position_embeddings");
    parameters["type"] = "longrope";
  }
  return parameters;
}

}  // namespace

RopeConfig read_rope_parameters(const io::JsonObject& parameters, const RopeDefaults& defaults) {
  RopeConfig config{.kind = kind_of(parameters, defaults),
                    .theta = parameters.number_or("rope_theta", defaults.theta),
                    .max_positions = defaults.max_positions};
  if (!(config.theta > 0) || !std::isfinite(config.theta))
    throw parameters.wrong("rope_theta", "a number above 0");
  const double part = parameters.number_or("partial_rotary_factor", 1);
  GRAFT_CHECK(part == 1 || defaults.partial, ConfigError, parameters.file(), ": ",
              parameters.path_of("partial_rotary_factor"), " is not 1, which is not supported");
  if (!(part > 0 && part <= 1))
    throw parameters.wrong("partial_rotary_factor", "a number above 0 and at most 1");
  config.dim = static_cast<int64_t>(static_cast<double>(defaults.head_dim) * part);
  refuse_sections(parameters);
  read_kind(parameters, defaults, config);
  check_rope(config, parameters.file());
  return config;
}

RopeConfig read_rope(const io::JsonObject& json, const RopeDefaults& defaults) {
  io::Json merged = io::Json::object();
  std::string path;
  for (const std::string key : {"rope_scaling", "rope_parameters"}) {
    if (path.empty() && json.has(key) && !json.object(key).keys().empty()) {
      merged = json.value(key);
      path = key;
    }
  }
  // What is missing inside is taken from outside.
  for (const std::string key : {"rope_theta", "partial_rotary_factor"}) {
    if (json.has(key) && !merged.contains(key))
      merged[key] = json.value(key);
  }
  // This one goes before what stands inside.
  if (json.has("original_max_position_embeddings"))
    merged["original_max_position_embeddings"] =
        json.integer("original_max_position_embeddings", size_limits);
  else if (defaults.original_positions)
    merged["original_max_position_embeddings"] = *defaults.original_positions;
  for (const auto& [key, value] : merged.items()) {
    GRAFT_CHECK(!value.is_object(), ConfigError, json.file(), ": ", path, " has settings for ", key,
                " alone, which is not supported in this family");
  }
  return read_rope_parameters(io::JsonObject(merged, json.file(), path), defaults);
}

io::Json rope_parameters_json(const RopeConfig& config, int64_t head_dim) {
  io::Json json = {{"rope_theta", config.theta}, {"rope_type", name_of(config.kind)}};
  const auto put = [&](const char* key, const std::optional<double>& value) {
    if (value)
      json[key] = *value;
  };
  if (config.dim != head_dim)
    json["partial_rotary_factor"] = part_of(config.dim, head_dim);
  if (config.kind != RopeKind::standard)
    put("factor", config.factor);
  if (config.original_positions > 0)
    json["original_max_position_embeddings"] = config.original_positions;
  put("attention_factor", config.attention_factor);
  if (config.kind == RopeKind::llama3) {
    json["low_freq_factor"] = config.low_freq_factor;
    json["high_freq_factor"] = config.high_freq_factor;
  }
  if (config.kind == RopeKind::yarn) {
    json["beta_fast"] = config.beta_fast;
    json["beta_slow"] = config.beta_slow;
    put("mscale", config.mscale);
    put("mscale_all_dim", config.mscale_all_dim);
    json["truncate"] = config.truncate;
  }
  if (config.kind == RopeKind::longrope) {
    json["short_factor"] = config.short_factor;
    json["long_factor"] = config.long_factor;
  }
  return json;
}

void write_rope(const RopeConfig& config, int64_t head_dim, io::Json& json) {
  const io::Json parameters = rope_parameters_json(config, head_dim);
  json["rope_theta"] = config.theta;
  if (config.dim != head_dim)
    json["partial_rotary_factor"] = parameters["partial_rotary_factor"];
  if (config.kind == RopeKind::longrope)
    json["original_max_position_embeddings"] = config.original_positions;
  if (config.kind != RopeKind::standard)
    json["rope_scaling"] = scaling_json(parameters);
  json["rope_parameters"] = parameters;
}

int64_t reachable_positions(const RopeConfig& config) {
  double reach = static_cast<double>(config.max_positions);
  if (config.factor && (config.kind == RopeKind::linear || config.kind == RopeKind::dynamic))
    reach *= *config.factor;
  if (config.factor && config.kind == RopeKind::yarn)
    reach = std::max(reach, *config.factor * static_cast<double>(config.original_positions));
  return static_cast<int64_t>(std::min(reach, static_cast<double>(size_limits.max)));
}

void check_rope(const RopeConfig& config, std::string_view file) {
  try {
    nn::Rotary(config).frequencies(1);
  } catch (const ConfigError& error) {
    throw FormatError(std::string(file), -1, error.what());
  }
}

}  // namespace graft::models
