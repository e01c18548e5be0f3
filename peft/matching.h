// Matching: which module names a configuration means, by PEFT's rules.
//
// Everything here works on names. PEFT's rules are regular expressions of Python's re; those
// without special characters but '.', which is nearly all that occur, are matched here. For others
// a RegexMatcher is passed in, so that who uses none needs no regular expression library.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/peft/config.h"

namespace graft::peft {

/// Does the pattern match the whole name, as Python's re.fullmatch says it? text::full_matcher().
using RegexMatcher = std::function<bool(const std::string& pattern, const std::string& name)>;

/// re.fullmatch(pattern, name). Throws ConfigError where a matcher is needed and there is none.
bool full_match(const std::string& pattern, const std::string& name, const RegexMatcher& matcher);

/// True where `name` is `entry` or ends in "." and it.
bool is_or_ends_in(std::string_view name, std::string_view entry);

/// True where the targets mean the module, by its name alone. Targets that are unset or all-linear
/// mean none.
bool means(const Targets& targets, const std::string& name, const RegexMatcher& matcher);

/// The layer index in a module's path: the number after a part that matches one of `patterns`, or
/// the first number that follows two parts where there are no patterns. Nothing where there is
/// none.
std::optional<int64_t> layer_index(const std::string& name,
                                   const std::vector<std::string>& patterns,
                                   const RegexMatcher& matcher);

/// True where the module is one that `entry` of modules_to_save names, or is inside of one.
bool is_inside(const std::string& name, const std::string& entry, const RegexMatcher& matcher);

/// True where the configuration's excluded modules include this one. Modules that are saved whole
/// are not adapted either, but that is not said here.
bool is_excluded(const LoraConfig& config, const std::string& name, const RegexMatcher& matcher);

/// True where the module is to be adapted: it is targeted, in the layers wanted, and not excluded.
bool is_targeted(const LoraConfig& config, const std::string& name, const RegexMatcher& matcher);

/// True where a key of rank_pattern or alpha_pattern stands for the module.
bool key_matches(const std::string& key, const std::string& name, const RegexMatcher& matcher);

/// The value of the first key that stands for the module, else `otherwise`.
template <class T>
T pattern_value(const Pattern<T>& pattern, const std::string& name, T otherwise,
                const RegexMatcher& matcher) {
  for (const auto& [key, value] : pattern) {
    if (key_matches(key, name, matcher))
      return value;
  }
  return otherwise;
}

/// Lists of targets with this many names or more are shortened, as PEFT does.
inline constexpr size_t minimised_from = 20;

/// The shortest suffixes that mean all of `targets` and none of `others`, which are whole names.
std::vector<std::string> minimal_targets(std::vector<std::string> targets,
                                         std::span<const std::string> others);

/// What PEFT adapts in a model of this type ("llama") where a configuration names nothing; unset
/// for types it does not know.
Targets default_targets(std::string_view model_type);

}  // namespace graft::peft
