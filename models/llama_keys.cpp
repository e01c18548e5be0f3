#include "graft/models/llama_keys.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "graft/models/family.h"

namespace graft::models {
namespace {

/// transformers' names of activations, of which several have one formula; what is written comes
/// first.
constexpr std::array<std::pair<std::string_view, nn::Activation>, 8> activation_names{
    {{"silu", nn::Activation::silu},
     {"swish", nn::Activation::silu},
     {"gelu", nn::Activation::gelu},
     {"gelu_python", nn::Activation::gelu},
     {"gelu_pytorch_tanh", nn::Activation::gelu_tanh},
     {"gelu_new", nn::Activation::gelu_tanh},
     {"gelu_fast", nn::Activation::gelu_tanh},
     {"gelu_accurate", nn::Activation::gelu_tanh}}};

int64_t read_head_dim(const io::JsonObject& json, const DecoderConfig& config) {
  if (json.has("head_dim"))
    return json.integer("head_dim", size_limits);
  if (config.family->defaults.head_dim > 0)
    return config.family->defaults.head_dim;
  if (config.hidden_size % config.heads != 0)
    throw json.wrong("hidden_size", concat("a multiple of num_attention_heads (", config.heads,
                                           ") where there is no head_dim"));
  return config.hidden_size / config.heads;
}

/// The window that `sliding_window` gives: 0 where it is null, `fallback` where it is missing.
int64_t window_or(const io::JsonObject& json, int64_t fallback) {
  if (json.kind("sliding_window") == io::JsonKind::absent)
    return fallback;
  return json.has("sliding_window") ? json.integer("sliding_window", size_limits) : 0;
}

constexpr const char* full_attention = "full_attention";
constexpr const char* sliding_attention = "sliding_attention";

}  // namespace

void read_llama_keys(const io::JsonObject& json, DecoderConfig& config) {
  const ConfigDefaults& defaults = config.family->defaults;
  const KeyNames& keys = config.family->keys;
  config.activation = read_activation(json, keys.activation, keys.usual_activation);
  config.vocab_size = json.integer("vocab_size", size_limits);
  config.hidden_size = json.integer("hidden_size", size_limits);
  config.intermediate_size = json.integer("intermediate_size", size_limits);
  config.layers = json.integer("num_hidden_layers", count_limits);
  config.heads = json.integer("num_attention_heads", count_limits);
  const bool said = json.kind("num_key_value_heads") != io::JsonKind::absent;
  const int64_t missing = said || defaults.kv_heads == 0 ? config.heads : defaults.kv_heads;
  config.kv_heads = json.integer_or("num_key_value_heads", missing, count_limits);
  config.head_dim = read_head_dim(json, config);
  config.max_positions =
      json.integer_or("max_position_embeddings", defaults.max_positions, size_limits);
  config.norm_eps = json.number_or("rms_norm_eps", defaults.norm_eps);
  config.tied_head = json.boolean_or("tie_word_embeddings", defaults.tied_head);
}

void write_llama_keys(const DecoderConfig& config, io::Json& json) {
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json[std::string(config.family->keys.activation)] = name_of(config.activation);
  json["max_position_embeddings"] = config.max_positions;
  json["rms_norm_eps"] = config.norm_eps;
  json["tie_word_embeddings"] = config.tied_head;
}

nn::Activation read_activation(const io::JsonObject& json, std::string_view key,
                               std::string_view usual) {
  const std::string name = json.text_or(key, usual);
  std::string supported;
  for (const auto& [candidate, activation] : activation_names) {
    if (candidate == name)
      return activation;
    supported += concat(supported.empty() ? "" : ", ", candidate);
  }
  throw ConfigError(concat(json.file(), ": ", json.path_of(key), " is ", name,
                           ", which is not supported; supported: ", supported));
}

std::string_view name_of(nn::Activation activation) {
  using Name = std::pair<std::string_view, nn::Activation>;
  return std::ranges::find(activation_names, activation, &Name::second)->first;
}

RopeDefaults rope_defaults(const DecoderConfig& config) {
  return {.head_dim = config.head_dim, .max_positions = config.max_positions};
}

void read_attention_bias(const io::JsonObject& json, DecoderConfig& config) {
  config.qkv_bias = config.o_bias = json.boolean_or("attention_bias", false);
}

void write_attention_bias(const DecoderConfig& config, io::Json& json) {
  GRAFT_CHECK(config.qkv_bias == config.o_bias, ConfigError, config.family->model_type,
              ": a bias on some of q_proj, k_proj, v_proj, o_proj only is not supported");
  json["attention_bias"] = config.qkv_bias;
}

void read_layer_types(const io::JsonObject& json, DecoderConfig& config) {
  if (!json.has("layer_types"))
    return;
  const std::vector<std::string> types = json.texts("layer_types");
  if (static_cast<int64_t>(types.size()) != config.layers)
    throw json.wrong("layer_types", concat("one entry for each of ", config.layers, " layers"));
  config.windowed.clear();
  for (const std::string& type : types) {
    GRAFT_CHECK(type == full_attention || type == sliding_attention, ConfigError, json.file(), ": ",
                json.path_of("layer_types"), " holds ", type,
                ", which is not supported; supported: full_attention, sliding_attention");
    config.windowed.push_back(type == sliding_attention);
  }
  GRAFT_CHECK(config.window > 0 || std::ranges::count(config.windowed, true) == 0, ConfigError,
              json.file(), ": ", json.path_of("layer_types"),
              " holds sliding_attention, but there is no sliding_window");
}

void write_layer_types(const DecoderConfig& config, io::Json& json) {
  io::Json types = io::Json::array();
  for (int64_t layer = 0; layer < config.layers; ++layer)
    types.push_back(config.has_window(layer) ? sliding_attention : full_attention);
  json["layer_types"] = types;
}

void read_qwen_window(const io::JsonObject& json, DecoderConfig& config) {
  constexpr int64_t usual_window = 4096;
  constexpr int64_t usual_first = 28;
  const bool used = json.boolean_or("use_sliding_window", false);
  const int64_t given = window_or(json, usual_window);
  config.window = used ? given : 0;
  const int64_t first = json.integer_or("max_window_layers", usual_first, {0, size_limits.max});
  config.windowed.assign(static_cast<size_t>(config.layers), false);
  for (int64_t layer = first; layer < config.layers && config.window > 0; ++layer)
    config.windowed[static_cast<size_t>(layer)] = true;
  read_layer_types(json, config);
}

void write_qwen_window(const DecoderConfig& config, io::Json& json) {
  int64_t first = config.layers;
  while (first > 0 && config.has_window(first - 1))
    --first;
  json["use_sliding_window"] = config.window > 0;
  json["sliding_window"] = config.window > 0 ? io::Json(config.window) : io::Json(nullptr);
  json["max_window_layers"] = first;
  write_layer_types(config, json);
}

void read_window(const io::JsonObject& json, int64_t fallback, DecoderConfig& config) {
  config.window = window_or(json, fallback);
  config.windowed.assign(static_cast<size_t>(config.layers), config.window > 0);
}

void write_window(const DecoderConfig& config, io::Json& json) {
  json["sliding_window"] = config.window > 0 ? io::Json(config.window) : io::Json(nullptr);
}

}  // namespace graft::models
