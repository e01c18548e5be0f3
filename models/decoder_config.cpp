#include "graft/models/decoder_config.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "graft/models/family.h"

namespace graft::models {
namespace {

/// Keys by which configurations of this shape change the numbers, and which no family here has.
constexpr std::array<std::string_view, 17> unsupported_keys{"quantization_config",
                                                            "sliding_window",
                                                            "num_local_experts",
                                                            "num_experts",
                                                            "n_routed_experts",
                                                            "attn_logit_softcapping",
                                                            "final_logit_softcapping",
                                                            "logit_scale",
                                                            "logits_scaling",
                                                            "embedding_multiplier",
                                                            "residual_multiplier",
                                                            "attention_multiplier",
                                                            "clip_qkv",
                                                            "use_qk_norm",
                                                            "no_rope_layers",
                                                            "attention_dropout",
                                                            "rope_interleaved"};

/// True where a key says nothing: null, false, 0 or empty.
bool is_off(const io::Json& value) {
  if (value.is_number())
    return value.get<double>() == 0;
  if (value.is_array() || value.is_object() || value.is_string())
    return value.empty() || value == "";
  return value.is_null() || value == false;
}

void refuse_unsupported(const io::JsonObject& json) {
  for (const std::string_view key : unsupported_keys) {
    if (!json.has(key) || is_off(json.value(key)))
      continue;
    constexpr size_t longest = 80;
    std::string value = io::to_text(json.value(key), -1);
    if (value.size() > longest)
      value = value.substr(0, longest) + " …";
    throw ConfigError(
        concat(json.file(), ": ", json.path_of(key), " is ", value, ", which is not supported"));
  }
}

void check_activation(const io::JsonObject& json) {
  const std::string activation = json.text_or("hidden_act", "silu");
  GRAFT_CHECK(activation == "silu" || activation == "swish", ConfigError, json.file(),
              ": hidden_act is ", activation, ", silu expected: no other is supported");
}

/// Reads one dictionary of rope settings; returns its theta.
double read_rope(const io::JsonObject& rope, double theta) {
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  GRAFT_CHECK(type == "default", ConfigError, rope.file(), ": ", rope.path_of("rope_type"), " is ",
              type, ", default expected: no other is supported");
  GRAFT_CHECK(rope.number_or("partial_rotary_factor", 1) == 1, ConfigError, rope.file(), ": ",
              rope.path_of("partial_rotary_factor"), " is not 1, which is not supported");
  return rope.number_or("rope_theta", theta);
}

/// As transformers 5: a `rope_scaling` goes before `rope_parameters`, a theta inside either before
/// the one outside.
double read_rope_theta(const io::JsonObject& json) {
  constexpr double usual_theta = 10000;
  double theta = read_rope(json, usual_theta);
  for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
    if (json.has(key) && !json.object(key).keys().empty()) {
      theta = read_rope(json.object(key), theta);
      break;
    }
  }
  if (!(theta > 0))
    throw json.wrong("rope_theta", "a number above 0");
  return theta;
}

std::vector<int64_t> read_token_ids(const io::JsonObject& json, std::string_view key) {
  if (!json.has(key))
    return {};
  if (json.kind(key) == io::JsonKind::array)
    return json.integers(key, token_limits);
  // Some configurations write -1 for "none".
  const int64_t id = json.integer(key, {-1, token_limits.max});
  return id < 0 ? std::vector<int64_t>{} : std::vector<int64_t>{id};
}

std::optional<int64_t> read_token_id(const io::JsonObject& json, std::string_view key) {
  const std::vector<int64_t> ids = read_token_ids(json, key);
  return ids.empty() ? std::nullopt : std::optional(ids[0]);
}

io::Json id_or_null(const std::optional<int64_t>& id) {
  return id ? io::Json(*id) : io::Json(nullptr);
}

}  // namespace

nn::DecoderLayerConfig DecoderConfig::layer_config() const {
  return {.attention = {.hidden_size = hidden_size,
                        .heads = heads,
                        .kv_heads = kv_heads,
                        .head_dim = head_dim,
                        .qkv_bias = qkv_bias,
                        .o_bias = o_bias},
          .intermediate_size = intermediate_size,
          .mlp_bias = mlp_bias,
          .rms_norm_eps = rms_norm_eps};
}

DecoderConfig read_decoder_config(const io::JsonObject& json) {
  DecoderConfig config;
  config.family = &family_of(json);
  refuse_unsupported(json);
  check_activation(json);
  config.vocab_size = json.integer("vocab_size", size_limits);
  config.hidden_size = json.integer("hidden_size", size_limits);
  config.intermediate_size = json.integer("intermediate_size", size_limits);
  config.layers = json.integer("num_hidden_layers", count_limits);
  config.heads = json.integer("num_attention_heads", count_limits);
  config.kv_heads = json.integer_or("num_key_value_heads", config.heads, count_limits);
  if (!json.has("head_dim") && config.hidden_size % config.heads != 0)
    throw json.wrong("hidden_size", concat("a multiple of num_attention_heads (", config.heads,
                                           ") where there is no head_dim"));
  config.head_dim = json.integer_or("head_dim", config.hidden_size / config.heads, size_limits);
  config.max_positions = json.integer_or("max_position_embeddings", 2048, size_limits);
  config.rms_norm_eps = json.number_or("rms_norm_eps", 1e-6);
  config.rope_theta = read_rope_theta(json);
  config.tied_head = json.boolean_or("tie_word_embeddings", false);
  config.bos_token_id = read_token_id(json, "bos_token_id");
  config.pad_token_id = read_token_id(json, "pad_token_id");
  config.eos_token_ids = read_token_ids(json, "eos_token_id");
  config.family->read(json, config);
  check_sizes(config, json.file());
  return config;
}

void read_generation_config(const io::JsonObject& json, DecoderConfig& config) {
  if (json.has("eos_token_id"))
    config.eos_token_ids = read_token_ids(json, "eos_token_id");
  if (json.has("pad_token_id"))
    config.pad_token_id = read_token_id(json, "pad_token_id");
}

void check_sizes(const DecoderConfig& config, const std::string& file) {
  const auto refuse = [&](const auto&... what) { throw FormatError(file, -1, concat(what...)); };
  if (config.heads % config.kv_heads != 0)
    refuse(config.heads, " attention heads for ", config.kv_heads,
           " key/value heads, a multiple expected");
  if (config.head_dim % 2 != 0)
    refuse("head size ", config.head_dim, ", an even number expected");
  if (!(config.rms_norm_eps >= 0) || !std::isfinite(config.rms_norm_eps))
    refuse("rms_norm_eps ", config.rms_norm_eps, ", a number of at least 0 expected");
}

std::string to_config_json(const DecoderConfig& config) {
  io::Json json;
  json["architectures"] = {config.family->architecture};
  json["model_type"] = config.family->model_type;
  json["vocab_size"] = config.vocab_size;
  json["hidden_size"] = config.hidden_size;
  json["intermediate_size"] = config.intermediate_size;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["max_position_embeddings"] = config.max_positions;
  json["rms_norm_eps"] = config.rms_norm_eps;
  // transformers 4 reads the first, 5 the second.
  json["rope_theta"] = config.rope_theta;
  json["rope_parameters"] = {{"rope_theta", config.rope_theta}, {"rope_type", "default"}};
  json["tie_word_embeddings"] = config.tied_head;
  config.family->write(config, json);
  json["bos_token_id"] = id_or_null(config.bos_token_id);
  if (config.eos_token_ids.size() > 1)
    json["eos_token_id"] = config.eos_token_ids;
  else
    json["eos_token_id"] =
        config.eos_token_ids.empty() ? io::Json(nullptr) : io::Json(config.eos_token_ids[0]);
  json["pad_token_id"] = id_or_null(config.pad_token_id);
  return io::to_text(json);
}

}  // namespace graft::models
