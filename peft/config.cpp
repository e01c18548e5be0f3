#include "graft/peft/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

constexpr std::array<std::string_view, 6> task_types{
    "SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"};

/// Initialisations of PEFT that are not built.
constexpr std::array<std::string_view, 3> other_inits{"corda", "lora_ga", "mica"};
constexpr std::array inits{LoraInit::standard,   LoraInit::random, LoraInit::gaussian,
                           LoraInit::orthogonal, LoraInit::pissa,  LoraInit::olora,
                           LoraInit::eva,        LoraInit::loftq};
constexpr std::string_view pissa_niter_prefix = "pissa_niter_";
constexpr std::array<std::string_view, 3> biases{"none", "all", "lora_only"};

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
  const std::vector<std::string> known(biases.begin(), biases.end());
  GRAFT_CHECK(std::ranges::find(known, config.bias) != known.end(), ConfigError,
              "lora config: bias is \"", config.bias, "\", none, all or lora_only expected",
              did_you_mean(config.bias, known));
  const bool starts_at_zero = config.init_lora_weights == LoraInit::standard ||
                              config.init_lora_weights == LoraInit::random;
  GRAFT_CHECK(!config.lora_bias || starts_at_zero, ConfigError,
              "lora config: lora_bias needs init_lora_weights true or false, \"",
              name(config.init_lora_weights), "\" given");
  GRAFT_CHECK(!config.lora_bias || !config.use_dora, ConfigError,
              "lora config: lora_bias and use_dora do not go together; drop one of them");
}

void check_loftq(const LoraConfig& config) {
  const LoftQConfig loftq = config.loftq_config.value_or(LoftQConfig());
  GRAFT_CHECK(loftq.loftq_bits == 4, ConfigError, "lora config: loftq_bits is ", loftq.loftq_bits,
              ", but graft quantises to 4");
  GRAFT_CHECK(loftq.loftq_iter >= 1, ConfigError, "lora config: loftq_iter is ", loftq.loftq_iter,
              ", at least 1 expected");
  GRAFT_CHECK(config.init_lora_weights != LoraInit::loftq || !config.use_dora, ConfigError,
              "lora config: init_lora_weights \"loftq\" and use_dora do not go together; drop one "
              "of them");
}

void check_invocation(const LoraConfig& config) {
  if (!config.alora_invocation_tokens)
    return;
  const std::vector<int64_t>& tokens = *config.alora_invocation_tokens;
  GRAFT_CHECK(!tokens.empty() && std::ranges::min(tokens) >= 0, ConfigError,
              "lora config: alora_invocation_tokens is empty or has a negative id; the ids of the "
              "tokens that invoke the adapter expected");
  GRAFT_CHECK(!config.use_dora && !takes_from_base(config), ConfigError,
              "lora config: alora_invocation_tokens does not go with ",
              config.use_dora ? "use_dora" : init_name(config),
              ", which changes a layer for all tokens; drop one of them");
}

void check_eva(const LoraConfig& config) {
  const EvaConfig eva = config.eva_config.value_or(EvaConfig());
  GRAFT_CHECK(std::isfinite(eva.rho) && eva.rho >= 1, ConfigError,
              "lora config: rho of eva_config is ", eva.rho, ", a number from 1 on expected");
  GRAFT_CHECK(eva.tau >= 0 && eva.tau <= 1, ConfigError, "lora config: tau of eva_config is ",
              eva.tau, ", a cosine from 0 to 1 expected");
}

void check_even(const LoraConfig& config, int64_t r, std::string_view where) {
  GRAFT_CHECK(config.init_lora_weights != LoraInit::orthogonal || r % 2 == 0, ConfigError,
              "lora config: ", where, " is ", r,
              ", but init_lora_weights \"orthogonal\" needs an even rank");
}

void check_tokens(const TokenIndices& tokens) {
  for (const auto& [module, indices] : tokens) {
    const std::string where =
        module.empty() ? "trainable_token_indices" : concat("trainable_token_indices ", module);
    GRAFT_CHECK(!indices.empty(), ConfigError, "lora config: ", where,
                " is empty, the ids of some tokens expected");
    std::set<int64_t> seen;
    for (const int64_t id : indices) {
      GRAFT_CHECK(id >= 0, ConfigError, "lora config: ", where, " has ", id,
                  ", ids from 0 expected");
      GRAFT_CHECK(seen.insert(id).second, ConfigError, "lora config: ", where, " has ", id,
                  " twice");
    }
  }
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
      return "gaussian";
    case LoraInit::orthogonal:
      return "orthogonal";
    case LoraInit::pissa:
      return "pissa";
    case LoraInit::olora:
      return "olora";
    case LoraInit::eva:
      return "eva";
    case LoraInit::loftq:
      break;
  }
  return "loftq";
}

LoraInit parse_lora_init(std::string_view name) {
  if (parse_pissa_niter(name))
    return LoraInit::pissa;
  for (const LoraInit init : inits) {
    if (name == peft::name(init))
      return init;
  }
  const bool known = std::ranges::find(other_inits, name) != other_inits.end();
  throw ConfigError(concat("lora config: init_lora_weights is \"", name, "\"",
                           known ? ", which graft does not support" : "",
                           "; true, false, gaussian, orthogonal, pissa, pissa_niter_N, olora, "
                           "eva or loftq expected"));
}

std::optional<int64_t> parse_pissa_niter(std::string_view name) {
  if (!name.starts_with(pissa_niter_prefix))
    return std::nullopt;
  int64_t niter = -1;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + pissa_niter_prefix.size(), end, niter);
  GRAFT_CHECK(error == std::errc() && stop == end && niter >= 0, ConfigError,
              "lora config: init_lora_weights is \"", name,
              "\", a number of iterations expected at its end, as in pissa_niter_16");
  return niter;
}

bool takes_from_base(const LoraConfig& config) {
  return config.init_lora_weights == LoraInit::pissa || config.init_lora_weights == LoraInit::olora;
}

std::string init_name(const LoraConfig& config) {
  return config.pissa_niter ? concat(pissa_niter_prefix, *config.pissa_niter)
                            : std::string(name(config.init_lora_weights));
}

void validate(const LoraConfig& config) {
  check_rank(config.r, "r");
  check_even(config, config.r, "r");
  GRAFT_CHECK(std::isfinite(config.lora_alpha), ConfigError, "lora config: lora_alpha is ",
              config.lora_alpha, ", a finite number expected");
  GRAFT_CHECK(config.lora_dropout >= 0 && config.lora_dropout < 1, ConfigError,
              "lora config: lora_dropout is ", config.lora_dropout,
              ", a probability from 0 to below 1 expected");
  GRAFT_CHECK(config.exclude_modules.kind() != Targets::Kind::all_linear, ConfigError,
              "lora config: exclude_modules is all-linear, a list of names or a regular expression "
              "expected");
  GRAFT_CHECK(!config.pissa_niter || config.init_lora_weights == LoraInit::pissa, ConfigError,
              "lora config: pissa_niter is given, but init_lora_weights is \"",
              name(config.init_lora_weights), "\"");
  check_eva(config);
  check_loftq(config);
  check_invocation(config);
  check_bias(config);
  check_task_type(config);
  check_layers(config);
  check_tokens(config.trainable_token_indices);
  for (const auto& [key, r] : config.rank_pattern) {
    check_rank(r, concat("rank_pattern \"", key, "\""));
    check_even(config, r, concat("rank_pattern \"", key, "\""));
  }
  for (const auto& [key, alpha] : config.alpha_pattern)
    GRAFT_CHECK(std::isfinite(alpha), ConfigError, "lora config: alpha_pattern \"", key, "\" is ",
                alpha, ", a finite number expected");
}

double scaling(const LoraConfig& config, int64_t r, double alpha) {
  const auto rank = static_cast<double>(r);
  return alpha / (config.use_rslora ? std::sqrt(rank) : rank);
}

}  // namespace graft::peft
