#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"
#include "graft/models/family.h"
#include "graft/tests/support/test.h"

namespace graft::models {
namespace {

using test::check_contains, test::message_of;

io::Json smallest() {
  return io::parse_json(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4})",
                        "config.json");
}

DecoderConfig read(const io::Json& json) {
  return read_decoder_config(io::JsonObject(json, "config.json"));
}

/// The configuration with one more key.
DecoderConfig with(const std::string& key, const io::Json& value) {
  io::Json json = smallest();
  json[key] = value;
  return read(json);
}

template <class E>
void refused(const std::string& key, const io::Json& value, const std::string& part) {
  check_contains(message_of<E>([&] { with(key, value); }), part);
}

}  // namespace

TEST_CASE("config: missing keys have transformers' defaults") {
  const DecoderConfig config = read(smallest());
  CHECK(config.kv_heads == 4);
  CHECK(config.head_dim == 8);
  CHECK(config.max_positions == 2048);
  CHECK(config.norm_eps == 1e-6);
  CHECK(config.ropes.at(0).theta == 10000);
  CHECK(!config.tied_head);
  CHECK(!config.qkv_bias);
  CHECK(!config.mlp_bias);
  CHECK(!config.bos_token_id);
  CHECK(config.eos_token_ids.empty());
}

TEST_CASE("config: rope settings of transformers 4 and 5 are read, the newest place first") {
  const auto theta = [](const DecoderConfig& config) { return config.ropes.at(0).theta; };
  CHECK(theta(with("rope_theta", 5000)) == 5000);
  CHECK(theta(with("rope_parameters", {{"rope_theta", 7000.0}, {"rope_type", "default"}})) == 7000);
  CHECK(theta(with("rope_scaling", {{"rope_type", "default"}})) == 10000);
  CHECK(theta(with("rope_scaling", nullptr)) == 10000);
  io::Json both = smallest();
  both["rope_theta"] = 5000;
  both["rope_parameters"] = {{"rope_theta", 7000}};
  CHECK(theta(read(both)) == 7000);
  both["rope_parameters"] = {{"rope_type", "default"}};
  CHECK(theta(read(both)) == 5000);
}

TEST_CASE("config: what comes back is what was written") {
  io::Json json = smallest();
  json["num_key_value_heads"] = 2;
  json["head_dim"] = 16;
  json["rms_norm_eps"] = 1e-5;
  json["rope_theta"] = 123456.5;
  json["tie_word_embeddings"] = true;
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  json["max_position_embeddings"] = 77;
  json["bos_token_id"] = 3;
  json["eos_token_id"] = {4, 5};
  const std::string written = to_config_json(read(json));
  const io::Json again = io::parse_json(written, "written");
  CHECK(to_config_json(read(again)) == written);
  for (const auto& [key, value] : json.items())
    CHECK_MESSAGE(again[key] == value, key);
}

TEST_CASE("config: options that would change the numbers are refused by name") {
  refused<ConfigError>("rope_scaling", {{"rope_type", "proportional"}},
                       "rope_scaling.rope_type is proportional, which is not supported; "
                       "supported: default, linear, dynamic, llama3, yarn, longrope");
  refused<ConfigError>("rope_scaling", {{"type", "axial"}}, "is axial");
  refused<ConfigError>("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}},
                       "rope_parameters has settings for full_attention alone");
  refused<ConfigError>("rope_parameters", {{"mrope_section", {2, 2}}}, "mrope_section is set");
  refused<ConfigError>("partial_rotary_factor", 0.5, "partial_rotary_factor is not 1");
  refused<ConfigError>("hidden_act", "relu",
                       "hidden_act is relu, which is not supported; supported: silu, swish, gelu");
  refused<ConfigError>("quantization_config", {{"quant_method", "gptq"}},
                       "quantization_config.quant_method is gptq, which graft does not read");
  refused<ConfigError>("num_local_experts", 8, "num_local_experts is 8");
  refused<ConfigError>("sliding_window", 4096, "sliding_window is 4096");
  refused<ConfigError>("attention_dropout", 0.1, "attention_dropout is 0.1");
  refused<ConfigError>("rope_interleaved", true, "rope_interleaved is true");
  CHECK(with("rope_interleaved", false).heads == 4);
  CHECK(with("attention_dropout", 0.0).heads == 4);
  CHECK(with("sliding_window", nullptr).heads == 4);
  CHECK(with("quantization_config", io::Json::object()).heads == 4);
}

TEST_CASE("config: other architectures are refused with the list of supported ones") {
  refused<ConfigError>("architectures", {"MixtralForCausalLM"},
                       "config.json: architecture MixtralForCausalLM is not supported; supported: "
                       "LlamaForCausalLM");
  refused<ConfigError>("architectures", {"LlamaForSequenceClassification"}, "is not supported");
  refused<FormatError>("architectures", {"A", "B"}, "a list with one name");
  io::Json json = smallest();
  json.erase("architectures");
  CHECK(read(json).family->architecture == "LlamaForCausalLM");
  json["model_type"] = "gpt_neox";
  check_contains(message_of<ConfigError>([&] { read(json); }),
                 "model_type gpt_neox is not supported; supported: llama");
}

TEST_CASE("config: wrong values are named with file and key") {
  refused<FormatError>("vocab_size", "many", "config.json: vocab_size is \"many\"");
  refused<FormatError>("hidden_size", -32, "hidden_size is -32, expected");
  refused<FormatError>("num_hidden_layers", int64_t{1} << 40, "num_hidden_layers");
  refused<FormatError>("num_attention_heads", 5, "hidden_size is 32, expected a multiple");
  refused<FormatError>("num_key_value_heads", 3, "4 attention heads for 3 key/value heads");
  refused<FormatError>("head_dim", 7, "rotary: head_dim is 7, an even number expected");
  refused<FormatError>("rope_theta", 0, "rope_theta is 0, expected a number above 0");
  refused<FormatError>("rms_norm_eps", -1, "the epsilon of the norms is -1");
  io::Json json = smallest();
  json.erase("hidden_size");
  check_contains(message_of<FormatError>([&] { read(json); }), "hidden_size");
}

TEST_CASE("families: every row of the table is whole and found by each of its names") {
  for (const Family& family : families()) {
    CHECK((family.read != nullptr));
    CHECK((family.write != nullptr));
    if (!family.gguf_architecture.empty())
      CHECK(family_of_gguf("x.gguf", family.gguf_architecture).model_type ==
            (family.model_type == "mistral" ? "llama" : family.model_type));
    const io::Json json = {{"model_type", family.model_type}};
    CHECK(&family_of(io::JsonObject(json, "config.json")) == &family);
  }
}

}  // namespace graft::models
