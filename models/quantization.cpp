#include "graft/models/quantization.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "graft/models/torch_dtype.h"

namespace graft::models {
namespace {

constexpr std::string_view what_is_read =
    "which graft does not read. It reads bitsandbytes' nf4 and fp4, and quantised GGUF files; take "
    "the model as it was before, and have it quantised while it is loaded (--quant nf4)";

/// A member under its own name or under the one with an underscore that transformers writes too.
bool flag(const io::JsonObject& json, const std::string& name) {
  return json.boolean_or(name, false) || json.boolean_or("_" + name, false);
}

DType read_dtype(const io::JsonObject& json, std::string_view key, DType fallback) {
  if (!json.has(key))
    return fallback;
  const std::string name = json.text(key);
  if (name == "int8")  // the same bytes
    return DType::u8;
  const std::optional<DType> dtype = dtype_of_torch(name);
  if (!dtype)
    throw json.wrong(key, "float32, bfloat16, float16 or uint8");
  return *dtype;
}

/// True where the entry says no more than itself as a regular expression, but for its dots.
bool is_plain(const std::string& entry) {
  return std::ranges::all_of(entry, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

/// True where the path begins with the entry, in which a dot is any character.
bool begins_with(const std::string& path, const std::string& entry) {
  return path.size() >= entry.size() &&
         std::equal(entry.begin(), entry.end(), path.begin(),
                    [](char expected, char c) { return expected == '.' || expected == c; });
}

bool stands_for(const std::string& entry, const std::string& path, const NameMatcher& matcher) {
  if (path.ends_with(entry))
    return true;
  if (is_plain(entry)) {
    if (entry.empty() || !begins_with(path, entry))
      return false;
    const size_t end = entry.size();
    return path[end - 1] == '.' || end == path.size() || path[end] == '.';
  }
  GRAFT_CHECK(matcher != nullptr, ConfigError, "quantisation: llm_int8_skip_modules has \"", entry,
              "\", which is a regular expression, but there is nothing to match it with; give "
              "text::full_matcher()");
  return matcher("(?:" + entry + R"()(?:(?<=\.)|(?=\.|$)).*)", path);
}

/// The head, and all modules whose weights are tied.
std::vector<std::string> modules_skipped_by_default(nn::CausalLM& model) {
  std::vector<std::string> skipped;
  std::map<const void*, std::vector<std::string>> owners;
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    if (member.module() == &model.head())
      skipped.push_back(path);
    if (member.is_parameter())
      owners[member.identity()].push_back(path.substr(0, path.rfind('.')));
  });
  for (const auto& [identity, paths] : owners) {
    if (paths.size() > 1)
      skipped.insert(skipped.end(), paths.begin(), paths.end());
  }
  return skipped;
}

std::vector<std::string> module_paths(nn::CausalLM& model) {
  std::vector<std::string> paths;
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    if (member.module() != nullptr)
      paths.push_back(path);
  });
  return paths;
}

void check_entries(const std::vector<std::string>& entries, const std::vector<std::string>& paths,
                   const NameMatcher& matcher) {
  for (const std::string& entry : entries) {
    const bool found = std::ranges::any_of(
        paths, [&](const std::string& path) { return stands_for(entry, path, matcher); });
    GRAFT_CHECK(found, ConfigError, "quantisation: llm_int8_skip_modules: \"", entry,
                "\" stands for no module of the model", did_you_mean(entry, paths));
  }
}

}  // namespace

quant::Config read_quantization_config(const io::JsonObject& json) {
  if (!json.has("quantization_config"))
    return {};
  const io::JsonObject object = json.object("quantization_config");
  if (object.keys().empty())
    return {};
  const bool is_ours = object.has("load_in_4bit") || object.has("load_in_8bit");
  const std::string method = object.text_or("quant_method", is_ours ? "bitsandbytes" : "not said");
  GRAFT_CHECK(method == "bitsandbytes", ConfigError, json.file(), ": ",
              object.path_of("quant_method"), " is ", method, ", ", what_is_read);
  GRAFT_CHECK(!flag(object, "load_in_8bit"), ConfigError, json.file(), ": ",
              object.path_of("load_in_8bit"), " is true: LLM.int8 weights, ", what_is_read);
  quant::Config config;
  config.load_in_4bit = flag(object, "load_in_4bit");
  const std::string type = object.text_or("bnb_4bit_quant_type", "fp4");
  if (type != "nf4" && type != "fp4")
    throw object.wrong("bnb_4bit_quant_type", "nf4 or fp4");
  config.bnb_4bit_quant_type = quant::parse_quant_type(type);
  config.bnb_4bit_use_double_quant = object.boolean_or("bnb_4bit_use_double_quant", false);
  config.bnb_4bit_compute_dtype = read_dtype(object, "bnb_4bit_compute_dtype", DType::f32);
  config.bnb_4bit_quant_storage = read_dtype(object, "bnb_4bit_quant_storage", DType::u8);
  if (object.has("llm_int8_skip_modules"))
    config.llm_int8_skip_modules = object.texts("llm_int8_skip_modules");
  return config;
}

io::Json to_json(const quant::Config& config) {
  io::Json skip;
  if (config.llm_int8_skip_modules)
    skip = *config.llm_int8_skip_modules;
  return {
      {"_load_in_4bit", config.load_in_4bit},
      {"_load_in_8bit", false},
      {"bnb_4bit_compute_dtype", torch_name(config.bnb_4bit_compute_dtype.value_or(DType::f32))},
      {"bnb_4bit_quant_storage", torch_name(config.bnb_4bit_quant_storage)},
      {"bnb_4bit_quant_type", quant::quant_type_name(config.bnb_4bit_quant_type)},
      {"bnb_4bit_use_double_quant", config.bnb_4bit_use_double_quant},
      {"llm_int8_enable_fp32_cpu_offload", false},
      {"llm_int8_has_fp16_weight", false},
      {"llm_int8_skip_modules", skip},
      {"llm_int8_threshold", 6.0},
      {"load_in_4bit", config.load_in_4bit},
      {"load_in_8bit", false},
      {"quant_method", "bitsandbytes"}};
}

std::set<std::string> weights_to_quantize(nn::CausalLM& model, const quant::Config& config,
                                          const NameMatcher& matcher) {
  if (!config.load_in_4bit)
    return {};
  const std::vector<std::string> paths = module_paths(model);
  if (config.llm_int8_skip_modules)
    check_entries(*config.llm_int8_skip_modules, paths, matcher);
  const std::vector<std::string> skipped =
      config.llm_int8_skip_modules.value_or(modules_skipped_by_default(model));
  std::set<std::string> weights;
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    if (dynamic_cast<const nn::Linear*>(member.module()) == nullptr)
      return;
    const bool stays = std::ranges::any_of(
        skipped, [&](const std::string& entry) { return stands_for(entry, path, matcher); });
    if (!stays)
      weights.insert(path + ".weight");
  });
  return weights;
}

void refuse_other_quantization(const io::TensorSource& source) {
  // In the order in which they are looked for: AWQ has no g_idx, and FP8 no packed weights.
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> traces{
      {{".g_idx", "GPTQ"},
       {".qweight", "AWQ or GPTQ"},
       {".SCB", "LLM.int8 (bitsandbytes in 8 bits)"},
       {".weight_packed", "compressed-tensors"},
       {".weight_scale_inv", "FP8"},
       {".weight_scale", "FP8"},
       {".W_q", "HQQ"}}};
  const std::vector<std::string> names = source.names();
  for (const auto& [ending, method] : traces) {
    for (const std::string& name : names)
      GRAFT_CHECK(!name.ends_with(ending), ConfigError, source.file_of(name), ": ", name,
                  " is a part of weights quantised by ", method, ", ", what_is_read);
  }
}

}  // namespace graft::models
