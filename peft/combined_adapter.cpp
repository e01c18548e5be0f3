#include "graft/peft/combined_adapter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "graft/peft/adapter_file.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// The rank of what an adapter changes, the largest one where it has several.
int64_t largest_rank(const LoraConfig& config) {
  int64_t rank = config.r;
  for (const auto& [key, r] : config.rank_pattern)
    rank = std::max(rank, r);
  return takes_from_base(config) ? 2 * rank : rank;  // B A, and what was taken out
}

/// PEFT combines A and B by themselves, which have to be of one shape.
void check_ranks(const CombineInput& one, const CombineInput& other,
                 const CombineOptions& options) {
  const bool needs_equal_ranks = options.compat == Compat::peft && one.name != other.name &&
                                 options.combination_type != Combination::cat &&
                                 !is_svd(options.combination_type);
  GRAFT_CHECK(!needs_equal_ranks || largest_rank(one.config) == largest_rank(other.config),
              ConfigError, "combine: ", name(options.combination_type),
              " as PEFT does it needs adapters of one rank, but \"", one.name, "\" has ",
              largest_rank(one.config), " and \"", other.name, "\" ", largest_rank(other.config),
              "; without compat they may differ");
}

/// What DoRA changes is no product of two small matrices, and PEFT drops the magnitudes. It also
/// takes PiSSA's B A for the change.
void check_variant(const CombineInput& input, const CombineOptions& options) {
  GRAFT_CHECK(
      !input.config.alora_invocation_tokens, ConfigError, "combine: \"", input.name,
      "\" has alora_invocation_tokens: it applies from these tokens of a text on, where its "
      "sum with others would apply everywhere; use them side by side");
  GRAFT_CHECK(
      !takes_from_base(input.config) || options.compat == Compat::none, ConfigError, "combine: \"",
      input.name, "\" has init_lora_weights \"", init_name(input.config),
      "\", of which PEFT leaves out what was taken from the model; without compat it counts");
  GRAFT_CHECK(!input.config.use_dora || options.compat == Compat::none, ConfigError, "combine: \"",
              input.name,
              "\" has use_dora, of which PEFT leaves out the magnitudes; without compat "
              "they count");
  GRAFT_CHECK(input.config.bias == "none" || options.compat == Compat::none, ConfigError,
              "combine: \"", input.name, "\" has bias \"", input.config.bias,
              "\": PEFT trains the biases of the base model itself, where they stay with any "
              "weight; without compat they are weighted");
  GRAFT_CHECK(!input.config.use_dora || options.combination_type != Combination::cat, ConfigError,
              "combine: \"", input.name,
              "\" has use_dora: what it changes has no factors that cat "
              "could put beside others; take svd, which has them for the rank you choose");
}

/// Throws ConfigError for settings of which PEFT takes no notice where it combines A and B each by
/// itself.
void check_svd_options(const std::vector<CombineInput>& inputs, const CombineOptions& options) {
  const CombineOptions used = options_for(inputs, options);
  if (used.compat == Compat::none || is_svd(used.combination_type))
    return;
  GRAFT_CHECK(!used.svd_rank && !used.svd_clamp, ConfigError,
              "combine: ", used.svd_rank ? "svd_rank" : "svd_clamp",
              " is given, of which PEFT takes no notice for ", name(used.combination_type),
              inputs.size() == 1 ? ", as which it combines one adapter alone" : "",
              "; leave it out, or take ",
              inputs.size() == 1 ? "no compat" : "a type with svd in its name, or no compat");
}

/// Names of modules, each once, in order.
void unite(std::vector<std::string>& names, const std::vector<std::string>& more) {
  for (const std::string& name : more) {
    if (std::ranges::find(names, name) == names.end())
      names.push_back(name);
  }
}

void unite(TokenIndices& tokens, const TokenIndices& more) {
  for (const auto& [name, ids] : more) {
    const std::string& wanted = name;
    const auto known =
        std::ranges::find_if(tokens, [&](const auto& entry) { return entry.first == wanted; });
    if (known == tokens.end()) {
      tokens.emplace_back(name, ids);
      continue;
    }
    for (const int64_t id : ids) {
      if (std::ranges::find(known->second, id) == known->second.end())
        known->second.push_back(id);
    }
  }
}

/// Whether two configurations say in the same words which modules they mean.
bool same_targets(const LoraConfig& a, const LoraConfig& b) {
  return a.target_modules == b.target_modules && a.exclude_modules == b.exclude_modules &&
         a.layers_to_transform == b.layers_to_transform && a.layers_pattern == b.layers_pattern;
}

/// The wider one of two settings of `bias`.
std::string united_bias(const std::string& one, const std::string& other) {
  for (const char* bias : {"all", "lora_only"}) {
    if (one == bias || other == bias)
      return bias;
  }
  return "none";
}

}  // namespace

void check_inputs(const std::vector<CombineInput>& inputs, const CombineOptions& options) {
  GRAFT_CHECK(!inputs.empty(), ConfigError, "combine: no adapters are given; name at least one");
  check_svd_options(inputs, options);
  for (const CombineInput& input : inputs) {
    GRAFT_CHECK(std::ranges::count(inputs, input.name, &CombineInput::name) == 1, ConfigError,
                "combine: \"", input.name, "\" is given twice");
    GRAFT_CHECK(std::isfinite(input.weight), ConfigError, "combine: the weight of \"", input.name,
                "\" is ", input.weight, ", a finite one expected");
    GRAFT_CHECK(input.config.ensure_weight_tying == inputs[0].config.ensure_weight_tying,
                ConfigError, "combine: of \"", inputs[0].name, "\" and \"", input.name,
                "\" one has ensure_weight_tying and the other has not");
    check_ranks(inputs[0], input, options);
    check_variant(input, options_for(inputs, options));
  }
}

CombineOptions options_for(const std::vector<CombineInput>& inputs, CombineOptions options) {
  if (inputs.size() == 1)
    options.combination_type = Combination::linear;
  return options;
}

int64_t combined_rank(const std::vector<CombineInput>& inputs, const CombineOptions& options) {
  int64_t sum = 0;
  int64_t largest = 0;
  for (const CombineInput& input : inputs) {
    sum += largest_rank(input.config);
    largest = std::max(largest, largest_rank(input.config));
  }
  return options.combination_type == Combination::cat ? sum : options.svd_rank.value_or(largest);
}

LoraConfig combined_config(const std::vector<CombineInput>& inputs, int64_t rank, Compat compat) {
  LoraConfig config = inputs.at(0).config;
  config.r = rank;
  config.lora_alpha = static_cast<double>(rank);
  config.rank_pattern.clear();
  config.alpha_pattern.clear();
  config.inference_mode = true;
  config.use_dora = false;  // its magnitudes are in the factors
  if (takes_from_base(config)) {
    config.init_lora_weights = LoraInit::standard;  // so is what was taken out of the weights
    config.pissa_niter.reset();
  }
  if (compat == Compat::none)
    config.use_rslora = false;  // as PEFT keeps it, the result would be scaled by its root
  std::vector<std::string> paths;
  for (const CombineInput& input : inputs) {
    unite(paths, input.modules);
    unite(config.modules_to_save, input.config.modules_to_save);
    unite(config.trainable_token_indices, input.config.trainable_token_indices);
    config.bias = united_bias(config.bias, input.config.bias);
    config.lora_bias = config.lora_bias || input.config.lora_bias;
  }
  if (!std::ranges::all_of(inputs, [&](const CombineInput& input) {
        return same_targets(input.config, inputs[0].config);
      })) {
    config.target_modules = Targets(paths);
    config.exclude_modules = {};
    config.layers_to_transform = {};
    config.layers_pattern = {};
  }
  return config;
}

void CombinedAdapter::add_layer(const LayerDeltas& layer, bool has_bias) {
  if (options_.on_layer)
    options_.on_layer(layer.path);
  std::vector<LayerPart> parts;
  std::vector<NamedDelta> deltas;
  Tensor bias;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Delta& delta = layer.deltas[i];
    if (!delta.a.defined() && !delta.weight.defined())
      continue;
    deltas.push_back({inputs_[i].name, delta});
    parts.push_back({.factors = {.a = delta.a, .b = delta.b},
                     .scaling = delta.scale,
                     .weight = inputs_[i].weight,
                     .change = delta.weight});
    if (!delta.bias.defined())
      continue;
    const Tensor weighted = ops::scale(delta.bias, inputs_[i].weight);
    bias = bias.defined() ? ops::add(bias, weighted) : weighted;
  }
  check_finite(deltas, layer.path);
  const CombinedLayer combined = combine(parts, options_, rank_, layer.path);
  layers_.push_back({layer.path, combined.energy, combined.discarded});
  const auto& [a, b] = combined.factors;
  const auto put = [&](std::string_view parameter, const Tensor& value) {
    tensors_[adapter_key(layer.path, parameter)] = value;
  };
  put(layer.is_embedding ? "lora_embedding_A" : "lora_A.weight", a);
  put(layer.is_embedding ? "lora_embedding_B" : "lora_B.weight", b);
  if (has_bias)
    put("lora_B.bias", bias.defined() && options_.compat == Compat::none
                           ? bias
                           : Tensor::zeros({b.dim(0)}, b.dtype()));
}

}  // namespace graft::peft
