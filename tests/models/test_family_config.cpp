// What each family reads of config.json, and what it refuses, beside what all families do.

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"
#include "graft/models/family.h"
#include "graft/models/model_info.h"
#include "graft/tests/support/test.h"

namespace graft::models {
namespace {

using nn::RopeKind;
using test::check_contains, test::message_of;

/// A configuration of a family with the given keys besides the sizes.
io::Json config_of(const std::string& model_type, const io::Json& keys) {
  io::Json json = io::parse_json(R"({"vocab_size": 100, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 7, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8})",
                                 "config.json");
  json["model_type"] = model_type;
  for (const auto& [key, value] : keys.items())
    json[key] = value;
  return json;
}

DecoderConfig read(const std::string& model_type, const io::Json& keys = io::Json::object()) {
  const io::Json json = config_of(model_type, keys);
  return read_decoder_config(io::JsonObject(json, "config.json"));
}

template <class E>
void refused(const std::string& model_type, const io::Json& keys, const std::string& part) {
  check_contains(message_of<E>([&] { read(model_type, keys); }), part);
}

/// "wwf": which layers have a window.
std::string windows(const DecoderConfig& config) {
  std::string text;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    text += config.layer_config(layer).attention.window == config.window && config.window > 0 ? 'w'
                                                                                              : 'f';
  return text;
}

}  // namespace

TEST_CASE("families: missing keys have the defaults that transformers gives the family") {
  const auto without = [](const std::string& model_type, const std::string& key) {
    io::Json json = config_of(model_type, io::Json::object());
    json.erase(key);
    return read_decoder_config(io::JsonObject(json, "config.json"));
  };
  CHECK(read("qwen2").max_positions == 32768);
  CHECK(read("phi3").norm_eps == 1e-5);
  CHECK(read("olmo2").norm_eps == 1e-5);
  CHECK(read("qwen3").norm_eps == 1e-6);
  CHECK(read("gemma3_text").tied_head);
  CHECK(!read("mistral").tied_head);
  CHECK(without("qwen3", "head_dim").head_dim == 128);
  CHECK(without("gemma3_text", "head_dim").head_dim == 256);
  CHECK(without("qwen2", "head_dim").head_dim == 8);
  CHECK(without("phi3", "num_key_value_heads").kv_heads == 4);
  CHECK(without("gemma3_text", "num_key_value_heads").kv_heads == 4);
}

TEST_CASE("families: windows are in the layers that the configuration says") {
  CHECK(windows(read("qwen2", {{"sliding_window", 5}, {"max_window_layers", 3}})) == "fffffff");
  CHECK(windows(read("qwen2", {{"use_sliding_window", true},
                               {"sliding_window", 5},
                               {"max_window_layers", 3}})) == "fffwwww");
  CHECK(windows(read("qwen3", {{"use_sliding_window", true}, {"max_window_layers", 9}})) ==
        "fffffff");
  CHECK(read("mistral").window == 4096);
  CHECK(windows(read("mistral")) == "wwwwwww");
  CHECK(windows(read("mistral", {{"sliding_window", nullptr}})) == "fffffff");
  CHECK(windows(read("phi3")) == "fffffff");
  CHECK(windows(read("phi3", {{"sliding_window", 3}})) == "wwwwwww");
  CHECK(windows(read("gemma3_text")) == "wwwwwfw");
  CHECK(windows(read("gemma3_text", {{"sliding_window_pattern", 3}})) == "wwfwwfw");
}

TEST_CASE("families: layer_types must be one for each layer, of two kinds, with a window") {
  const io::Json seven = {"full_attention", "full_attention", "full_attention",   "full_attention",
                          "full_attention", "full_attention", "sliding_attention"};
  const io::Json window = {
      {"use_sliding_window", true}, {"sliding_window", 5}, {"layer_types", seven}};
  CHECK(windows(read("qwen2", window)) == "ffffffw");
  CHECK(windows(read("gemma3_text", {{"layer_types", seven}})) == "ffffffw");
  refused<ConfigError>("qwen3", {{"layer_types", seven}},
                       "layer_types holds sliding_attention, but there is no sliding_window");
  io::Json other = seven;
  other[2] = "chunked_attention";
  refused<ConfigError>("qwen2", {{"layer_types", other}}, "holds chunked_attention");
  refused<FormatError>("qwen2", {{"layer_types", {"full_attention"}}},
                       "one entry for each of 7 layers");
  refused<ConfigError>("mistral", {{"layer_types", seven}}, "layer_types is");
  refused<ConfigError>("llama", {{"layer_types", seven}}, "layer_types is");
}

TEST_CASE("phi3: rotates a part of each head, and knows longrope under its old names") {
  CHECK(read("phi3", {{"partial_rotary_factor", 0.5}}).ropes[0].dim == 4);
  const io::Json factors = {{"short_factor", {1, 1, 1, 1}}, {"long_factor", {2, 2, 2, 2}}};
  for (const char* name : {"longrope", "su", "yarn"}) {
    io::Json scaling = factors;
    scaling["type"] = name;
    // A number of original positions inside counts for nothing.
    scaling["original_max_position_embeddings"] = 7;
    const DecoderConfig config =
        read("phi3", {{"rope_scaling", scaling}, {"max_position_embeddings", 131072}});
    CHECK(config.ropes[0].kind == RopeKind::longrope);
    CHECK(config.ropes[0].original_positions == 4096);
    CHECK(info_of(config, "", DType::f32).cache_renewal == 4096);
    CHECK(info_of(config, "", DType::f32).max_positions == 131072);
  }
  CHECK(info_of(read("phi3"), "", DType::f32).cache_renewal == 0);
  refused<ConfigError>("phi3", {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}},
                       "neither default nor longrope");
  refused<ConfigError>("qwen2", {{"partial_rotary_factor", 0.5}}, "partial_rotary_factor is not 1");
  refused<FormatError>(
      "phi3", {{"rope_scaling", {{"type", "su"}, {"short_factor", {1}}, {"long_factor", {1}}}}},
      "short_factor has 1 numbers, 4 expected");
  refused<ConfigError>("phi3", {{"resid_pdrop", 0.1}}, "resid_pdrop is 0.1");
}

TEST_CASE("gemma3: two rotary embeddings, in the spelling of transformers 4 and of 5") {
  const auto thetas = [](const io::Json& keys) {
    const DecoderConfig config = read("gemma3_text", keys);
    return std::pair(config.ropes.at(0).theta, config.ropes.at(1).theta);
  };
  CHECK(thetas(io::Json::object()) == std::pair(1e6, 1e4));
  CHECK(thetas({{"rope_theta", 5.0}, {"rope_local_base_freq", 6.0}}) == std::pair(5.0, 6.0));
  CHECK(thetas({{"rope_parameters",
                 {{"full_attention", {{"rope_theta", 7.0}}},
                  {"sliding_attention", {{"rope_theta", 8.0}}}}}}) == std::pair(7.0, 8.0));
  const DecoderConfig scaled =
      read("gemma3_text", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  CHECK(scaled.ropes[0].kind == RopeKind::linear);
  CHECK(scaled.ropes[1].kind == RopeKind::standard);
  CHECK(scaled.layer_config(0).attention.rotary == 1);
  CHECK(scaled.layer_config(5).attention.rotary == 0);
  refused<ConfigError>("gemma3_text", {{"rope_parameters", {{"rope_theta", 7.0}}}},
                       "rope_parameters.rope_theta is not supported; settings by layer type");
}

TEST_CASE("gemma3: scales are those of the configuration, soft caps are refused") {
  const DecoderConfig config = read("gemma3_text", {{"query_pre_attn_scalar", 168}});
  CHECK(config.attention_scale.value() == doctest::Approx(1 / std::sqrt(168.0)));
  CHECK(config.embedding_scale == doctest::Approx(std::sqrt(32.0)));
  CHECK(config.norm_config().offset == 1);
  CHECK(io::parse_json(to_config_json(config), "written")["query_pre_attn_scalar"] == 168);
  CHECK(python_module_of(*config.family) == "transformers.models.gemma3.modeling_gemma3");
  refused<ConfigError>("gemma3_text", {{"final_logit_softcapping", 30.0}},
                       "final_logit_softcapping is 30.0");
  refused<ConfigError>("gemma3_text", {{"attn_logit_softcapping", 50.0}},
                       "attn_logit_softcapping is 50.0");
  refused<ConfigError>("gemma3_text", {{"use_bidirectional_attention", true}},
                       "use_bidirectional_attention is true");
  refused<ConfigError>("gemma3_text", {{"hidden_activation", "relu"}}, "hidden_activation is relu");
  refused<FormatError>("gemma3_text", {{"sliding_window", nullptr}}, "sliding_window");
  CHECK(read("gemma3_text", {{"final_logit_softcapping", nullptr}}).layers == 7);
}

TEST_CASE("families: how far texts reach follows from the kind of rotary embedding") {
  const auto reach = [](const io::Json& scaling) {
    const DecoderConfig config =
        read("llama", {{"rope_scaling", scaling}, {"max_position_embeddings", 100}});
    return info_of(config, "", DType::f32).max_positions;
  };
  CHECK(reach({{"type", "linear"}, {"factor", 4.0}}) == 400);
  CHECK(reach({{"type", "dynamic"}, {"factor", 2.0}}) == 200);
  CHECK(reach({{"type", "yarn"}, {"factor", 4.0}}) == 400);
  CHECK(reach({{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 20}}) ==
        100);
}

}  // namespace graft::models
