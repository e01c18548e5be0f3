#include "graft/models/decoder_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "graft/models/family.h"
#include "graft/models/quantization.h"

namespace graft::models {
namespace {

/// Keys that change the numbers in some family. Who reads a key answers for it; nobody else may be
/// given it.
constexpr std::array<std::string_view, 22> unsupported_keys{"sliding_window",
                                                            "layer_types",
                                                            "use_mrope",
                                                            "resid_pdrop",
                                                            "embd_pdrop",
                                                            "attn_pdrop",
                                                            "use_bidirectional_attention",
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

/// Refuses what the family's reader did not ask for and what would change the numbers.
void refuse_unsupported(const io::JsonObject& json) {
  for (const std::string& key : json.unasked()) {
    if (std::ranges::find(unsupported_keys, key) == unsupported_keys.end() ||
        is_off(json.value(key)))
      continue;
    constexpr size_t longest = 80;
    std::string value = io::to_text(json.value(key), -1);
    if (value.size() > longest)
      value = value.substr(0, longest) + " …";
    throw ConfigError(
        concat(json.file(), ": ", json.path_of(key), " is ", value, ", which is not supported"));
  }
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

nn::NormConfig DecoderConfig::norm_config() const {
  return {.eps = norm_eps, .offset = family->design.norm_offset};
}

nn::DecoderLayerConfig DecoderConfig::layer_config(int64_t layer) const {
  const Design& design = family->design;
  const nn::NormConfig norm = norm_config();
  return {.attention = {.hidden_size = hidden_size,
                        .heads = heads,
                        .kv_heads = kv_heads,
                        .head_dim = head_dim,
                        .qkv_bias = qkv_bias,
                        .o_bias = o_bias,
                        .fused_qkv = design.fused,
                        .qk_norm = design.qk_norm,
                        .norm = norm,
                        .window = has_window(layer) ? window : 0,
                        .scale = attention_scale,
                        .rotary = has_window(layer) && ropes.size() > 1 ? size_t{1} : size_t{0}},
          .mlp = {.hidden_size = hidden_size,
                  .intermediate_size = intermediate_size,
                  .bias = mlp_bias,
                  .activation = activation,
                  .fused_gate_up = design.fused},
          .norm = norm,
          .norms = design.norms};
}

DecoderConfig read_decoder_config(const io::JsonObject& json) {
  DecoderConfig config;
  config.family = &family_of(json);
  config.family->read(json, config);
  config.bos_token_id = read_token_id(json, "bos_token_id");
  config.pad_token_id = read_token_id(json, "pad_token_id");
  config.eos_token_ids = read_token_ids(json, "eos_token_id");
  config.quant = read_quantization_config(json);
  refuse_unsupported(json);
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
  if (!(config.norm_eps >= 0) || !std::isfinite(config.norm_eps))
    refuse("the epsilon of the norms is ", config.norm_eps, ", a number of at least 0 expected");
}

std::string to_config_json(const DecoderConfig& config) {
  io::Json json;
  json["architectures"] = {config.family->architecture};
  json["model_type"] = config.family->model_type;
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
