#include "graft/models/gpt2_keys.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/models/llama_keys.h"

namespace graft::models {
namespace {

constexpr double usual_dropout = 0.1;

/// The value where the first name has one, else under the second: transformers knows both.
int64_t size_of(const io::JsonObject& json, std::string_view name, std::string_view other,
                io::IntegerRange range) {
  return json.integer(json.has(name) || !json.has(other) ? name : other, range);
}

void refuse_unless(const io::JsonObject& json, std::string_view key, bool expected) {
  GRAFT_CHECK(json.boolean_or(key, expected) == expected, ConfigError, json.file(), ": ",
              json.path_of(key), " is ", expected ? "false" : "true", ", which is not supported");
}

}  // namespace

void read_gpt2(const io::JsonObject& json, DecoderConfig& config) {
  constexpr int64_t usual_positions = 1024;
  config.vocab_size = json.integer("vocab_size", size_limits);
  config.hidden_size = size_of(json, "n_embd", "hidden_size", size_limits);
  config.layers = size_of(json, "n_layer", "num_hidden_layers", count_limits);
  config.heads = size_of(json, "n_head", "num_attention_heads", count_limits);
  config.kv_heads = config.heads;
  if (config.hidden_size % config.heads != 0)
    throw json.wrong("n_embd", concat("a multiple of n_head (", config.heads, ")"));
  config.head_dim = config.hidden_size / config.heads;
  config.intermediate_size = json.integer_or("n_inner", 4 * config.hidden_size, size_limits);
  config.max_positions = json.has("n_positions") || !json.has("max_position_embeddings")
                             ? json.integer_or("n_positions", usual_positions, size_limits)
                             : json.integer("max_position_embeddings", size_limits);
  config.norm_eps = json.number_or("layer_norm_epsilon", 1e-5);
  config.activation = read_activation(json, "activation_function", "gelu_new");
  GRAFT_CHECK(config.activation != nn::Activation::silu, ConfigError, json.file(),
              ": activation_function is silu, which is not supported in this family");
  config.tied_head = json.boolean_or("tie_word_embeddings", true);
  config.qkv_bias = config.o_bias = config.mlp_bias = true;
  if (!json.boolean_or("scale_attn_weights", true))
    config.attention_scale = 1;
  refuse_unless(json, "scale_attn_by_inverse_layer_idx", false);
  refuse_unless(json, "reorder_and_upcast_attn", false);
  refuse_unless(json, "add_cross_attention", false);
  for (const std::string key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"})
    config.dropouts.emplace_back(key, json.number_or(key, usual_dropout));
}

void write_gpt2(const DecoderConfig& config, io::Json& json) {
  json["vocab_size"] = config.vocab_size;
  json["n_embd"] = config.hidden_size;
  json["n_layer"] = config.layers;
  json["n_head"] = config.heads;
  json["n_inner"] = config.intermediate_size == 4 * config.hidden_size
                        ? io::Json(nullptr)
                        : io::Json(config.intermediate_size);
  json["n_positions"] = config.max_positions;
  json["layer_norm_epsilon"] = config.norm_eps;
  json["activation_function"] = config.activation == nn::Activation::gelu ? "gelu" : "gelu_new";
  json["tie_word_embeddings"] = config.tied_head;
  json["scale_attn_weights"] = !config.attention_scale.has_value();
  for (const auto& [key, probability] : config.dropouts)
    json[key] = probability;
}

}  // namespace graft::models
