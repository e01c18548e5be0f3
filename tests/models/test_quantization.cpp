// Which weights are quantised, and what configurations say of it.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/models/bitsandbytes.h"
#include "graft/models/quantization.h"
#include "graft/tests/models/models.h"

namespace graft::models {
namespace {

using test::check_contains, test::message_of;

/// Skips no module but these.
quant::Config skipping(const std::vector<std::string>& modules) {
  quant::Config config = quant::nf4();
  config.llm_int8_skip_modules = modules;
  return config;
}

/// Paths without ".weight" and the first part.
std::set<std::string> chosen(nn::CausalLM& model, const quant::Config& config,
                             const NameMatcher& matcher = {}) {
  std::set<std::string> names;
  for (const std::string& path : weights_to_quantize(model, config, matcher))
    names.insert(path.substr(0, path.size() - std::string(".weight").size()));
  return names;
}

quant::Config read(const io::Json& value) {
  const io::Json json = {{"quantization_config", value}};
  return read_quantization_config(io::JsonObject(json, "config.json"));
}

}  // namespace

TEST_CASE("quantization_config: transformers' own is read and written again") {
  for (const std::string name : {"nf4", "fp4"}) {
    const io::Json json = io::read_json_file(test::golden("qlora/" + name + "/config.json"));
    const quant::Config config = read_quantization_config(io::JsonObject(json, "config.json"));
    CHECK(config.load_in_4bit);
    CHECK(quant::quant_type_name(config.bnb_4bit_quant_type) == name);
    CHECK(config.bnb_4bit_use_double_quant == (name == "nf4"));
    CHECK(config.bnb_4bit_compute_dtype == DType::f32);
    CHECK(!config.llm_int8_skip_modules);
    CHECK(io::to_text(to_json(config)) == io::to_text(json["quantization_config"]));
  }
}

TEST_CASE("quantization_config: defaults are transformers', and nothing means dense weights") {
  const quant::Config config = read({{"load_in_4bit", true}});
  CHECK(config.bnb_4bit_quant_type == quant::QuantType::fp4);
  CHECK(!config.bnb_4bit_use_double_quant);
  CHECK(read(nullptr) == quant::Config());
  CHECK(read(io::Json::object()) == quant::Config());
  const quant::Config full = read({{"quant_method", "bitsandbytes"},
                                   {"_load_in_4bit", true},
                                   {"bnb_4bit_quant_storage", "bfloat16"},
                                   {"bnb_4bit_compute_dtype", "torch.float16"},
                                   {"llm_int8_skip_modules", {"lm_head", "model.layers.1.mlp"}}});
  CHECK(full.load_in_4bit);
  CHECK(full.bnb_4bit_quant_storage == DType::bf16);
  CHECK(full.bnb_4bit_compute_dtype == DType::f16);
  CHECK(full.llm_int8_skip_modules->at(1) == "model.layers.1.mlp");
  CHECK(read(to_json(full)) == full);
}

TEST_CASE("quantization_config: other methods are refused by name") {
  const auto refusal = [](const io::Json& value) {
    return message_of<ConfigError>([&] { read(value); });
  };
  for (const std::string method : {"gptq", "awq", "fp8", "compressed-tensors", "mxfp4"})
    check_contains(refusal({{"quant_method", method}, {"bits", 4}}),
                   "quantization_config.quant_method is " + method + ", which graft does not read");
  check_contains(refusal({{"bits", 4}}), "quant_method is not said");
  check_contains(refusal({{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}}),
                 "load_in_8bit is true: LLM.int8");
  const auto damage = [](const io::Json& value) {
    return message_of<FormatError>([&] { read(value); });
  };
  check_contains(damage({{"load_in_4bit", true}, {"bnb_4bit_quant_type", "nf5"}}),
                 "bnb_4bit_quant_type is \"nf5\", expected nf4 or fp4");
  check_contains(damage({{"load_in_4bit", 1}}), "load_in_4bit");
  check_contains(damage({{"load_in_4bit", true}, {"bnb_4bit_compute_dtype", "int4"}}),
                 "bnb_4bit_compute_dtype");
  check_contains(damage({{"load_in_4bit", true}, {"llm_int8_skip_modules", "lm_head"}}),
                 "llm_int8_skip_modules");
  check_contains(damage("nf4"), "quantization_config");
}

TEST_CASE("quantisation: the head and what is tied stay as they are by default") {
  for (const std::string name : {"gqa", "untied"}) {
    CAPTURE(name);
    const auto model = test::golden_model(name);
    const std::set<std::string> names = chosen(*model, quant::nf4());
    CHECK(names.size() == 14);
    CHECK(names.contains("model.layers.1.mlp.down_proj"));
    CHECK(!names.contains("lm_head"));
  }
  CHECK(chosen(*test::golden_model("untied"), {}).empty());
}

TEST_CASE("quantisation: a list stands in the place of the defaults, and matches as transformers") {
  const auto model = test::golden_model("untied");
  CHECK(chosen(*model, skipping({})).contains("lm_head"));
  // The end of a path.
  CHECK(chosen(*model, skipping({"proj"})) == std::set<std::string>{"lm_head"});
  CHECK(chosen(*model, skipping({"lm_head", "q_proj"})).size() == 12);
  // The beginning, up to the end of a name; "model.layers.1" is not "model.layers.10".
  CHECK(chosen(*model, skipping({"model.layers.1.mlp", "lm_head"})).size() == 11);
  CHECK(chosen(*model, skipping({"model.layers.", "lm_head"})).empty());
  check_contains(message_of<ConfigError>([&] { chosen(*model, skipping({"model.layers.1.ml"})); }),
                 "\"model.layers.1.ml\" stands for no module of the model (did you mean "
                 "'model.layers.1.mlp'?)");
  // A regular expression is handed to the matcher, anchored as re.match and a boundary do it.
  check_contains(message_of<ConfigError>([&] { chosen(*model, skipping({"model.*mlp"})); }),
                 "is a regular expression");
  std::string asked;
  chosen(*model, skipping({"model.*mlp"}), [&](const std::string& pattern, const std::string&) {
    asked = pattern;
    return true;
  });
  CHECK(asked == R"((?:model.*mlp)(?:(?<=\.)|(?=\.|$)).*)");
}

TEST_CASE("quantisation: tensors of other methods are refused by name") {
  const auto refusal = [](const std::string& name) {
    const io::SafetensorsFile file(test::data("quant/safetensors_reference/" + name));
    return message_of<ConfigError>([&] { refuse_other_quantization(file); });
  };
  check_contains(refusal("gptq.safetensors"), "g_idx is a part of weights quantised by GPTQ");
  check_contains(refusal("awq.safetensors"), "qweight is a part of weights quantised by AWQ");
  check_contains(refusal("fp8.safetensors"), "weight_scale_inv is a part of weights quantised by");
  check_contains(refusal("fp8.safetensors"), "FP8, which graft does not read");
  const io::SafetensorsFile own(test::data("quant/safetensors_reference/bnb_nf4.safetensors"));
  refuse_other_quantization(own);
  CHECK(read_quantized(own, "model.layers.0.weight").blocksize == 64);
}

TEST_CASE("quantisation: settings that cannot be computed with are refused") {
  quant::Config config = quant::nf4();
  config.blocksize = 48;
  check_contains(message_of<ConfigError>([&] { quant::check(config); }), "block size 48 given");
  config = quant::nf4();
  config.bnb_4bit_compute_dtype = DType::f16;
  check_contains(message_of<ConfigError>([&] { quant::check(config); }),
                 "bnb_4bit_compute_dtype is f16, f32 or bf16 expected");
  config = quant::nf4();
  config.bnb_4bit_quant_storage = DType::i32;
  check_contains(message_of<ConfigError>([&] { quant::check(config); }), "bnb_4bit_quant_storage");
}

TEST_CASE("quantisation: bits of a number count the scales") {
  CHECK(quant::bits_per_number(quant::nf4().format()) == doctest::Approx(4.127).epsilon(1e-4));
  CHECK(quant::bits_per_number({quant::QuantType::fp4, 64, false}) == 4.5);
  CHECK(quant::to_string(quant::nf4().format()) == "nf4 with double quantisation, blocks of 64");
  CHECK(quant::to_string({quant::QuantType::fp4, 128, false}) == "fp4, blocks of 128");
}

}  // namespace graft::models
