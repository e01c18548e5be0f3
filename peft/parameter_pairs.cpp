#include "graft/peft/parameter_pairs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/io/json.h"
#include "graft/nn/weight.h"
#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

using io::Json;

/// Settings that say nothing about what a model computes of a text, or that show in the parameters.
bool is_passed_over(const std::string& key) {
  constexpr std::array<std::string_view, 7> passed_over{"bos_token_id", "eos_token_id",
                                                        "pad_token_id", "tie_word_embeddings",
                                                        "vocab_size",   "max_position_embeddings",
                                                        "architectures"};
  return std::ranges::find(passed_over, key) != passed_over.end() ||
         key.find("drop") != std::string::npos;  // no model is trained with its own dropout
}

/// GGUF files have numbers in f32.
bool same_number(double a, double b) {
  return std::fabs(a - b) <= 1e-6 * std::max(std::fabs(a), std::fabs(b));
}

/// "rope_theta is 10000.0 for the base and 500000.0 for the tuned model" of the first setting that
/// differs; empty for none.
std::string difference(const Json& base, const Json& tuned, const std::string& path) {
  if (base.is_object() && tuned.is_object()) {
    std::set<std::string> keys;
    for (const Json* object : {&base, &tuned})
      for (const auto& item : object->items())
        keys.insert(item.key());
    for (const std::string& key : keys) {
      const std::string inner = path.empty() ? key : path + "." + key;
      const std::string found = is_passed_over(key) ? ""
                                                    : difference(base.value(key, Json()),
                                                                 tuned.value(key, Json()), inner);
      if (!found.empty())
        return found;
    }
    return "";
  }
  const bool are_same = base.is_number() && tuned.is_number()
                            ? same_number(base.get<double>(), tuned.get<double>())
                            : base == tuned;
  return are_same ? ""
                  : concat(path, " is ", io::to_text(base, -1), " for the base and ",
                           io::to_text(tuned, -1), " for the tuned model");
}

void check_settings(const nn::ModelInfo& base, const nn::ModelInfo& tuned) {
  GRAFT_CHECK(base.model_type == tuned.model_type, ConfigError,
              "extract: the models are of different architectures: the base is of type \"",
              base.model_type, "\", the tuned model \"", tuned.model_type, "\"");
  const std::string found =
      difference(io::parse_json(base.config_json, "the base's config.json"),
                 io::parse_json(tuned.config_json, "the tuned model's config.json"), "");
  GRAFT_CHECK(found.empty(), ConfigError, "extract: ", found, ", which an adapter cannot change");
}

std::map<std::string, nn::Member*> parameters_by_path(nn::CausalLM& model, const char* which) {
  std::map<std::string, nn::Member*> parameters;
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    if (!member.is_parameter())
      return;
    const auto* weight = dynamic_cast<const nn::Weight*>(&member);
    GRAFT_CHECK(weight == nullptr || !weight->form().format, ConfigError, "extract: ", path,
                " of the ", which,
                " is in 4 bits, and what that lost would count as a change; give "
                "the models as they are without quantisation");
    parameters[path] = &member;
  });
  return parameters;
}

void check_shapes(const std::string& path, const nn::Member& base, const nn::Member& tuned,
                  bool is_of_vocabulary) {
  const std::string shapes = concat("extract: ", path, " is ", base.shape(), " in the base and ",
                                    tuned.shape(), " in the tuned model");
  GRAFT_CHECK(base.shape() == tuned.shape(), ConfigError, shapes,
              is_of_vocabulary
                  ? ": its vocabulary was resized, and an adapter is for a base of the "
                    "same size; resize that first, or cut the tuned model's tables"
                  : ", so that they are not one architecture");
}

}  // namespace

std::vector<ParameterPair> parameter_pairs(nn::CausalLM& base, nn::CausalLM& tuned) {
  check_settings(base.info(), tuned.info());
  const auto in_base = parameters_by_path(base, "base");
  const auto in_tuned = parameters_by_path(tuned, "tuned model");
  for (const auto& [path, member] : in_tuned)
    GRAFT_CHECK(in_base.contains(path), ConfigError, "extract: the tuned model has ", path,
                ", and the base has not, so that they are not one architecture");
  const int64_t vocabulary = base.info().vocab_size;
  std::vector<ParameterPair> pairs;
  std::set<std::pair<const void*, const void*>> seen;
  nn::for_each_member(base, [&](const std::string& path, nn::Member& member) {
    if (!member.is_parameter())
      return;
    const auto found = in_tuned.find(path);
    GRAFT_CHECK(found != in_tuned.end(), ConfigError, "extract: the base has ", path,
                ", and the tuned model has not, so that they are not one architecture");
    nn::Member& other = *found->second;
    check_shapes(path, member, other,
                 member.shape()[0] == vocabulary && other.shape()[0] == tuned.info().vocab_size);
    if (seen.insert({member.identity(), other.identity()}).second)
      pairs.push_back({path, &member, &other});
  });
  return pairs;
}

}  // namespace graft::peft
