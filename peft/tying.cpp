#include "graft/peft/tying.h"

#include <algorithm>
#include <array>
#include <utility>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

constexpr std::array<std::string_view, 2> embedding_names{"embed_tokens", "lm_head"};

bool ends_in_embedding(std::string_view name) {
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return std::ranges::find(embedding_names, last) != embedding_names.end();
}

/// As Python's re.escape does it for a path.
std::string escaped(std::string_view path) {
  std::string text;
  for (const char c : path) {
    if (c == '.')
      text += '\\';
    text += c;
  }
  return text;
}

/// The embedding joins a list of names, and the first one that means the head leaves it; but not
/// where that is the only name by which the pair is known when the adapter is loaded (GPT-2's).
std::vector<std::string> with_embedding(std::vector<std::string> names, const Tie& tie,
                                        const RegexMatcher& matcher) {
  if (std::ranges::find(names, tie.embedding.path) == names.end())
    names.push_back(tie.embedding.path);
  const auto head = std::ranges::find_if(
      names, [&](const std::string& name) { return is_inside(tie.head.path, name, matcher); });
  if (head != names.end() && ends_in_embedding(tie.embedding.path))
    names.erase(head);
  return names;
}

/// PEFT nests the expression once more whenever an adapter is loaded and saved; that changes
/// nothing but its length, and is left out.
Targets with_embedding(const Targets& targets, const Tie& tie, const RegexMatcher& matcher) {
  if (targets.kind() != Targets::Kind::regex)
    return Targets(with_embedding(targets.names(), tie, matcher));
  const std::string added = concat("|^", escaped(tie.embedding.path), "$)");
  const std::string& pattern = targets.pattern();
  if (pattern.starts_with("(?:") && pattern.ends_with(added))
    return targets;
  return Targets::regex(concat("(?:", pattern, added));
}

}  // namespace

std::optional<Tie> tie_of(const nn::CausalLM& model, const std::vector<Site>& sites) {
  const Site* embedding = input_embedding(sites);
  const auto head = std::ranges::find(sites, &model.head(), &Site::module);
  if (embedding == nullptr || head == sites.end())
    return std::nullopt;
  const nn::Member* one = weight_of(*embedding);
  const nn::Member* other = weight_of(*head);
  if (one == nullptr || other == nullptr || one->identity() != other->identity())
    return std::nullopt;
  return Tie{*embedding, *head};
}

bool targets_embedding(const LoraConfig& config, const RegexMatcher& matcher) {
  if (config.target_modules.kind() == Targets::Kind::regex)
    return std::ranges::any_of(embedding_names, [&](std::string_view name) {
      return full_match(config.target_modules.pattern(), std::string(name), matcher);
    });
  return std::ranges::any_of(config.target_modules.names(), ends_in_embedding);
}

bool saves_embedding(const LoraConfig& config) {
  return std::ranges::any_of(config.modules_to_save, ends_in_embedding);
}

Tied apply_tying(LoraConfig& config, const std::optional<Tie>& tie, const RegexMatcher& matcher,
                 const Observer& observer) {
  const auto warn = [&](const std::string& message) {
    if (observer)
      observer("lora config: " + message);
  };
  const bool saves = saves_embedding(config);
  const bool targets = targets_embedding(config, matcher);
  if (!config.ensure_weight_tying) {
    if (tie && (saves || targets))
      warn(
          concat("the head ", tie->head.path, " shares the matrix of ", tie->embedding.path,
                 ", and the adapter changes one without the other; graft keeps them apart, but "
                 "merging with PEFT would change both. ensure_weight_tying changes them together"));
    return Tied::nothing;
  }
  if (!tie) {
    warn("ensure_weight_tying is set, but the model's head has a matrix of its own");
    return Tied::nothing;
  }
  if (saves) {
    config.modules_to_save = with_embedding(std::move(config.modules_to_save), *tie, matcher);
    return Tied::copies;
  }
  if (targets) {
    config.target_modules = with_embedding(config.target_modules, *tie, matcher);
    return Tied::targets;
  }
  if (config.trainable_token_indices.empty())
    warn(
        "ensure_weight_tying is set, but neither target_modules nor modules_to_save name the "
        "embedding or the head");
  return Tied::nothing;
}

}  // namespace graft::peft
