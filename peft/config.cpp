#include "graft/peft/config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

constexpr std::array<std::string_view, 6> task_types{
    "SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"};

/// Initialisations of PEFT that need more than the layer's sizes; "pissa" also as "pissa_niter_16".
constexpr std::array<std::string_view, 8> other_inits{"eva",   "olora",      "pissa",   "corda",
                                                      "loftq", "orthogonal", "lora_ga", "mica"};

void check_rank(int64_t r, std::string_view where) {
  GRAFT_CHECK(r > 0, ConfigError, "lora config: ", where, " is ", r,
              ", a positive integer expected");
}

void check_task_type(const LoraConfig& config) {
  if (!config.task_type || *config.task_type == "CAUSAL_LM")
    return;
  GRAFT_CHECK(std::ranges::find(task_types, *config.task_type) == task_types.end(), ConfigError,
              "lora config: task_type is ", *config.task_type,
              ", but graft trains causal language models only (CAUSAL_LM)");
  const std::vector<std::string> known(task_types.begin(), task_types.end());
  throw ConfigError(concat("lora config: task_type is \"", *config.task_type,
                           "\", CAUSAL_LM expected", did_you_mean(*config.task_type, known)));
}

void check_bias(const LoraConfig& config) {
  if (config.bias == "none")
    return;
  const bool known = config.bias == "all" || config.bias == "lora_only";
  throw ConfigError(concat(
      "lora config: bias is \"", config.bias, "\"",
      known ? ", but graft does not train biases (\"none\" expected)" : ", \"none\" expected"));
}

void check_layers(const LoraConfig& config) {
  GRAFT_CHECK(config.layers_pattern.empty() || !config.layers_to_transform.empty(), ConfigError,
              "lora config: layers_pattern is given without layers_to_transform, which says the "
              "indices of the layers");
  if (config.target_modules.kind() != Targets::Kind::regex &&
      config.target_modules.kind() != Targets::Kind::all_linear)
    return;
  const bool any = !config.layers_to_transform.empty() || !config.layers_pattern.empty();
  GRAFT_CHECK(!any, ConfigError,
              "lora config: layers_to_transform needs a list of target_modules, not ",
              config.target_modules, "; a regular expression can name the layers itself");
}

}  // namespace

std::string_view name(LoraInit init) {
  switch (init) {
    case LoraInit::standard:
      return "true";
    case LoraInit::random:
      return "false";
    case LoraInit::gaussian:
      break;
  }
  return "gaussian";
}

LoraInit parse_lora_init(std::string_view name) {
  for (const LoraInit init : {LoraInit::standard, LoraInit::random, LoraInit::gaussian}) {
    if (name == peft::name(init))
      return init;
  }
  const bool known = std::ranges::any_of(other_inits, [&](std::string_view other) {
    return name == other || (other == "pissa" && name.starts_with("pissa_niter_"));
  });
  throw ConfigError(concat("lora config: init_lora_weights is \"", name, "\"",
                           known ? ", which graft does not support" : "",
                           "; true, false or gaussian expected"));
}

void validate(const LoraConfig& config) {
  check_rank(config.r, "r");
  GRAFT_CHECK(std::isfinite(config.lora_alpha), ConfigError, "lora config: lora_alpha is ",
              config.lora_alpha, ", a finite number expected");
  GRAFT_CHECK(config.lora_dropout >= 0 && config.lora_dropout < 1, ConfigError,
              "lora config: lora_dropout is ", config.lora_dropout,
              ", a probability from 0 to below 1 expected");
  GRAFT_CHECK(config.exclude_modules.kind() != Targets::Kind::all_linear, ConfigError,
              "lora config: exclude_modules is all-linear, a list of names or a regular expression "
              "expected");
  check_bias(config);
  check_task_type(config);
  check_layers(config);
  for (const auto& [key, r] : config.rank_pattern)
    check_rank(r, concat("rank_pattern \"", key, "\""));
  for (const auto& [key, alpha] : config.alpha_pattern)
    GRAFT_CHECK(std::isfinite(alpha), ConfigError, "lora config: alpha_pattern \"", key, "\" is ",
                alpha, ", a finite number expected");
}

double scaling(const LoraConfig& config, int64_t r, double alpha) {
  const auto rank = static_cast<double>(r);
  return alpha / (config.use_rslora ? std::sqrt(rank) : rank);
}

}  // namespace graft::peft
