#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/peft/config.h"

namespace graft::peft {
namespace {

using io::Json;
using io::JsonKind;
using io::JsonObject;

/// The largest rank read from a file: above, sizes would come near the limits of int64_t.
constexpr int64_t max_rank = int64_t{1} << 30;

/// A key of PEFT's that graft has no field for: it must have this value, or one that asks for
/// nothing.
struct UnsupportedKey {
  std::string_view key;
  std::string_view value;
};
constexpr std::array<UnsupportedKey, 13> unsupported_keys{{
    {"arrow_config", "null"},
    {"corda_config", "null"},
    {"kasa_config", "null"},
    {"layer_replication", "null"},
    {"lora_ga_config", "null"},
    {"megatron_config", "null"},
    {"megatron_core", "\"megatron.core\""},
    {"monteclora_config", "null"},
    {"qalora_group_size", "16"},
    {"target_parameters", "null"},
    {"use_bdlora", "null"},
    {"use_qalora", "false"},
    {"velora_config", "null"},
}};

/// True for null, false, what is empty, and objects of such.
bool asks_for_nothing(const Json& value) {
  if (value.is_object())
    return std::ranges::all_of(value, asks_for_nothing);
  if (value.is_string())
    return value.get_ref<const std::string&>().empty();
  return value.is_null() || value == false || (value.is_array() && value.empty());
}

/// One line for a message.
std::string shown(const Json& value) {
  constexpr size_t longest = 60;
  std::string text = io::to_text(value, -1);
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

Targets read_targets(const JsonObject& object, std::string_view key) {
  switch (object.kind(key)) {
    case JsonKind::absent:
    case JsonKind::null:
      return {};
    case JsonKind::text: {
      std::string text = object.text(key);
      std::string lower = text;
      std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      });
      return lower == "all-linear" ? Targets::all_linear() : Targets::regex(std::move(text));
    }
    default:
      return Targets(object.texts(key));
  }
}

OneOrMany<int64_t> read_layers(const JsonObject& object, std::string_view key) {
  if (!object.has(key))
    return {};
  if (object.kind(key) == JsonKind::integer)
    return object.integer(key);
  return object.integers(key);
}

OneOrMany<std::string> read_names(const JsonObject& object, std::string_view key) {
  if (!object.has(key))
    return {};
  if (object.kind(key) != JsonKind::text)
    return object.texts(key);
  std::string text = object.text(key);
  return text.empty() ? OneOrMany<std::string>() : OneOrMany<std::string>(std::move(text));
}

std::optional<std::string> read_text(const JsonObject& object, std::string_view key) {
  return object.has(key) ? std::optional(object.text(key)) : std::nullopt;
}

LoraInit read_init(const JsonObject& object, std::string_view key) {
  switch (object.kind(key)) {
    case JsonKind::absent:
      return LoraInit::standard;
    case JsonKind::text:
      return parse_lora_init(object.text(key));
    default:
      return object.boolean(key) ? LoraInit::standard : LoraInit::random;
  }
}

std::optional<EvaConfig> read_eva(const JsonObject& object, std::string_view key) {
  if (!object.has(key))
    return std::nullopt;
  const JsonObject settings = object.object(key);
  EvaConfig eva;
  eva.rho = settings.number_or("rho", eva.rho);
  eva.tau = settings.number_or("tau", eva.tau);
  eva.use_label_mask = settings.boolean_or("use_label_mask", eva.use_label_mask);
  eva.label_mask_value = settings.integer_or("label_mask_value", eva.label_mask_value);
  eva.whiten = settings.boolean_or("whiten", eva.whiten);
  eva.adjust_scaling_factors =
      settings.boolean_or("adjust_scaling_factors", eva.adjust_scaling_factors);
  for (const std::string& unknown : settings.unasked())
    throw FormatError(object.file(), -1, concat("unknown key \"", settings.path_of(unknown), "\""));
  return eva;
}

std::optional<LoftQConfig> read_loftq(const JsonObject& object, std::string_view key) {
  if (!object.has(key))
    return std::nullopt;
  const JsonObject settings = object.object(key);
  if (settings.keys().empty())
    return std::nullopt;
  LoftQConfig loftq;
  loftq.loftq_bits = settings.integer_or("loftq_bits", loftq.loftq_bits);
  loftq.loftq_iter = settings.integer_or("loftq_iter", loftq.loftq_iter);
  for (const std::string& unknown : settings.unasked())
    throw FormatError(object.file(), -1, concat("unknown key \"", settings.path_of(unknown), "\""));
  return loftq;
}

Pattern<int64_t> read_rank_pattern(const JsonObject& object) {
  Pattern<int64_t> pattern;
  if (object.has("rank_pattern")) {
    const JsonObject keys = object.object("rank_pattern");
    for (const std::string& key : keys.keys())
      pattern.emplace_back(key, keys.integer(key, {.min = 1, .max = max_rank}));
  }
  return pattern;
}

Pattern<double> read_alpha_pattern(const JsonObject& object) {
  Pattern<double> pattern;
  if (object.has("alpha_pattern")) {
    const JsonObject keys = object.object("alpha_pattern");
    for (const std::string& key : keys.keys())
      pattern.emplace_back(key, keys.number(key));
  }
  return pattern;
}

std::vector<std::string> read_list(const JsonObject& object, std::string_view key) {
  return object.has(key) ? object.texts(key) : std::vector<std::string>();
}

TokenIndices read_tokens(const JsonObject& object, std::string_view key) {
  if (!object.has(key))
    return {};
  if (object.kind(key) != JsonKind::object) {
    std::vector<int64_t> indices = object.integers(key);
    return indices.empty() ? TokenIndices() : TokenIndices{{"", std::move(indices)}};
  }
  TokenIndices tokens;
  const JsonObject modules = object.object(key);
  for (const std::string& module : modules.keys())
    tokens.emplace_back(module, modules.integers(module));
  return tokens;
}

std::optional<AutoMapping> read_auto_mapping(const JsonObject& object) {
  if (!object.has("auto_mapping"))
    return std::nullopt;
  const JsonObject mapping = object.object("auto_mapping");
  return AutoMapping{.base_model_class = mapping.text_or("base_model_class", ""),
                     .parent_library = mapping.text_or("parent_library", "")};
}

/// Refuses other methods than LoRA.
void check_peft_type(const JsonObject& object, std::string_view file) {
  if (const std::string type = object.text("peft_type"); type != "LORA")
    throw FormatError(file, -1,
                      concat("peft_type is \"", type, "\", but graft supports LORA only"));
  object.text_or("peft_version", "");
}

/// Refuses what has no field here, and what nobody knows.
void check_other_keys(const Json& json, const JsonObject& object, std::string_view file) {
  for (const auto& [key, value] : unsupported_keys) {
    if (object.kind(key) == JsonKind::absent)
      continue;
    const Json& found = json.at(std::string(key));
    if (!asks_for_nothing(found) && found != Json::parse(value))
      throw FormatError(file, -1,
                        concat(key, " is ", shown(found), ", which graft does not support (", value,
                               " expected)"));
  }
  for (const std::string& key : object.unasked()) {
    if (asks_for_nothing(json.at(key)))
      continue;
    std::vector<std::string> known;
    const Json all = Json::parse(to_json({}));
    for (const auto& item : all.items())
      known.push_back(item.key());
    throw FormatError(file, -1,
                      concat("unknown key \"", key, "\" with the value ", shown(json.at(key)),
                             did_you_mean(key, known)));
  }
}

LoraConfig read_fields(const JsonObject& object) {
  LoraConfig config;
  config.r = object.integer_or("r", config.r, {.min = 1, .max = max_rank});
  config.target_modules = read_targets(object, "target_modules");
  config.exclude_modules = read_targets(object, "exclude_modules");
  config.lora_alpha = object.number_or("lora_alpha", config.lora_alpha);
  config.lora_dropout = object.number_or("lora_dropout", config.lora_dropout);
  config.fan_in_fan_out = object.boolean_or("fan_in_fan_out", config.fan_in_fan_out);
  config.bias = object.text_or("bias", config.bias);
  config.lora_bias = object.boolean_or("lora_bias", config.lora_bias);
  config.use_rslora = object.boolean_or("use_rslora", config.use_rslora);
  config.use_dora = object.boolean_or("use_dora", config.use_dora);
  config.init_lora_weights = read_init(object, "init_lora_weights");
  if (object.kind("init_lora_weights") == JsonKind::text)
    config.pissa_niter = parse_pissa_niter(object.text("init_lora_weights"));
  config.eva_config = read_eva(object, "eva_config");
  config.loftq_config = read_loftq(object, "loftq_config");
  if (object.has("alora_invocation_tokens"))
    config.alora_invocation_tokens = object.integers("alora_invocation_tokens");
  config.layers_to_transform = read_layers(object, "layers_to_transform");
  config.layers_pattern = read_names(object, "layers_pattern");
  config.rank_pattern = read_rank_pattern(object);
  config.alpha_pattern = read_alpha_pattern(object);
  config.modules_to_save = read_list(object, "modules_to_save");
  config.trainable_token_indices = read_tokens(object, "trainable_token_indices");
  config.ensure_weight_tying = object.boolean_or("ensure_weight_tying", config.ensure_weight_tying);
  config.task_type = read_text(object, "task_type");
  config.base_model_name_or_path = read_text(object, "base_model_name_or_path");
  config.revision = read_text(object, "revision");
  config.inference_mode = object.boolean_or("inference_mode", config.inference_mode);
  config.auto_mapping = read_auto_mapping(object);
  return config;
}

Json targets_json(const Targets& targets) {
  switch (targets.kind()) {
    case Targets::Kind::unset:
      return nullptr;
    case Targets::Kind::regex:
      return targets.pattern();
    case Targets::Kind::all_linear:
      return "all-linear";
    case Targets::Kind::list:
      break;
  }
  std::vector<std::string> names = targets.names();
  std::ranges::sort(names);
  return names;
}

template <class T>
Json one_or_many_json(const OneOrMany<T>& values) {
  if (values.empty())
    return nullptr;
  return values.is_single() ? Json(values.values()[0]) : Json(values.values());
}

/// A whole number without a point, as PEFT's users write alphas.
Json number_json(double value) {
  constexpr double exact_integers = 9007199254740992;  // 2^53
  const bool whole = value == std::trunc(value) && std::abs(value) <= exact_integers;
  return whole ? Json(static_cast<int64_t>(value)) : Json(value);
}

Json optional_json(const std::optional<std::string>& text) {
  return text ? Json(*text) : Json();
}

Json init_json(const LoraConfig& config) {
  const LoraInit init = config.init_lora_weights;
  if (init == LoraInit::standard || init == LoraInit::random)
    return init == LoraInit::standard;
  return init_name(config);
}

Json eva_json(const std::optional<EvaConfig>& eva) {
  if (!eva)
    return nullptr;
  return {{"adjust_scaling_factors", eva->adjust_scaling_factors},
          {"label_mask_value", eva->label_mask_value},
          {"rho", eva->rho},
          {"tau", eva->tau},
          {"use_label_mask", eva->use_label_mask},
          {"whiten", eva->whiten}};
}

Json loftq_json(const std::optional<LoftQConfig>& loftq) {
  if (!loftq)
    return Json::object();
  return {{"loftq_bits", loftq->loftq_bits}, {"loftq_iter", loftq->loftq_iter}};
}

Json tokens_json(const TokenIndices& tokens) {
  if (tokens.empty())
    return nullptr;
  if (tokens.front().first.empty())
    return tokens.front().second;
  const std::map<std::string, std::vector<int64_t>> sorted(tokens.begin(), tokens.end());
  Json modules = Json::object();
  for (const auto& [module, indices] : sorted)
    modules[module] = indices;
  return modules;
}

Json auto_mapping_json(const LoraConfig& config) {
  if (!config.auto_mapping)
    return nullptr;
  return {{"base_model_class", config.auto_mapping->base_model_class},
          {"parent_library", config.auto_mapping->parent_library}};
}

}  // namespace

LoraConfig parse_lora_config(std::string_view text, std::string_view file) {
  const Json json = io::parse_json(text, file);
  const JsonObject object(json, file);
  check_peft_type(object, file);
  try {
    LoraConfig config = read_fields(object);
    check_other_keys(json, object, file);
    validate(config);
    return config;
  } catch (const ConfigError& error) {
    throw FormatError(file, -1, error.what());
  }
}

LoraConfig read_lora_config(const std::filesystem::path& file) {
  return parse_lora_config(io::read_file(file, io::JsonLimits().max_bytes), file.string());
}

std::string to_json(const LoraConfig& config) {
  std::map<std::string, Json, std::less<>> fields;
  for (const auto& [key, value] : unsupported_keys)
    fields[std::string(key)] = Json::parse(value);
  Json ranks = Json::object();
  for (const auto& [key, r] : config.rank_pattern)
    ranks[key] = r;
  Json alphas = Json::object();
  for (const auto& [key, alpha] : config.alpha_pattern)
    alphas[key] = number_json(alpha);
  fields["alora_invocation_tokens"] =
      config.alora_invocation_tokens ? Json(*config.alora_invocation_tokens) : Json();
  fields["alpha_pattern"] = std::move(alphas);
  fields["auto_mapping"] = auto_mapping_json(config);
  fields["base_model_name_or_path"] = optional_json(config.base_model_name_or_path);
  fields["bias"] = config.bias;
  fields["ensure_weight_tying"] = config.ensure_weight_tying;
  fields["eva_config"] = eva_json(config.eva_config);
  fields["exclude_modules"] = targets_json(config.exclude_modules);
  fields["fan_in_fan_out"] = config.fan_in_fan_out;
  fields["inference_mode"] = true;
  fields["init_lora_weights"] = init_json(config);
  fields["layers_pattern"] = one_or_many_json(config.layers_pattern);
  fields["layers_to_transform"] = one_or_many_json(config.layers_to_transform);
  fields["loftq_config"] = loftq_json(config.loftq_config);
  fields["lora_alpha"] = number_json(config.lora_alpha);
  fields["lora_bias"] = config.lora_bias;
  fields["lora_dropout"] = config.lora_dropout;
  fields["modules_to_save"] =
      config.modules_to_save.empty() ? Json() : Json(config.modules_to_save);
  fields["peft_type"] = "LORA";
  fields["peft_version"] = peft_version;
  fields["r"] = config.r;
  fields["rank_pattern"] = std::move(ranks);
  fields["revision"] = optional_json(config.revision);
  fields["target_modules"] = targets_json(config.target_modules);
  fields["task_type"] = optional_json(config.task_type);
  fields["trainable_token_indices"] = tokens_json(config.trainable_token_indices);
  fields["use_dora"] = config.use_dora;
  fields["use_rslora"] = config.use_rslora;
  Json json = Json::object();
  for (auto& [key, value] : fields)
    json[key] = std::move(value);
  constexpr bool ensure_ascii = true;  // as Python's json.dumps
  return json.dump(2, ' ', ensure_ascii, Json::error_handler_t::replace);
}

}  // namespace graft::peft
