#include "graft/peft/matching.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

/// True where no character but '.' means anything but itself.
bool is_plain(std::string_view pattern) {
  return pattern.find_first_of("\\^$*+?{}[]|()") == std::string_view::npos;
}

/// Matches a plain pattern, in which '.' stands for any one character.
bool plain_match(std::string_view pattern, std::string_view text) {
  return std::ranges::equal(pattern, text, [](char p, char t) { return p == '.' || p == t; });
}

bool regex_match(const std::string& pattern, const std::string& name, const RegexMatcher& matcher,
                 std::string_view given) {
  GRAFT_CHECK(matcher, ConfigError, "lora config: \"", given,
              "\" is a regular expression, and nothing was given that matches those; pass "
              "text::full_matcher() as the matcher");
  return matcher(pattern, name);
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// A dot-separated part of a name that is a number and not the last part.
struct Number {
  size_t begin, end;  // the digits; name[end] is a dot
};
std::vector<Number> numbers_in(std::string_view name) {
  std::vector<Number> numbers;
  size_t begin = 0;
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', begin)) {
    if (is_number(name.substr(begin, dot - begin)))
      numbers.push_back({begin, dot});
    begin = dot + 1;
  }
  return numbers;
}

std::optional<int64_t> value_of(std::string_view name, const Number& number) {
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(name.data() + number.begin, name.data() + number.end, value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

/// Whether a layers_pattern matches a name, and which number follows.
struct LayerMatch {
  bool matched = false;
  std::optional<int64_t> index{};
};

/// re.match(r"(?:^|.*?\.)PATTERN\.(\d+)\.", name): of several places the first counts.
LayerMatch match_plain_layer(const std::string& pattern, std::string_view name) {
  LayerMatch match;
  size_t earliest = name.size();
  for (const Number& number : numbers_in(name)) {
    if (number.begin < pattern.size() + 1)
      continue;
    const size_t begin = number.begin - 1 - pattern.size();
    const bool is_part = begin == 0 || name[begin - 1] == '.';
    if (!is_part || begin >= earliest || !plain_match(pattern, name.substr(begin, pattern.size())))
      continue;
    earliest = begin;
    match = {.matched = true, .index = value_of(name, number)};
  }
  return match;
}

/// The same through a matcher that only says whether whole names match. An atomic group keeps the
/// match that Python would find first; it ends behind the number for which the rest fits.
LayerMatch match_regex_layer(const std::string& pattern, const std::string& name,
                             const RegexMatcher& matcher) {
  const std::string first = R"((?>(?:^|.*?\.))" + pattern + R"(\.\d+\.))";
  if (!regex_match(first + ".*", name, matcher, pattern))
    return {};
  for (const Number& number : numbers_in(name)) {
    const size_t rest = name.size() - number.end - 1;
    if (matcher(first + ".{" + std::to_string(rest) + "}", name))
      return {.matched = true, .index = value_of(name, number)};
  }
  return {.matched = true};
}

/// The name's suffixes that begin at a part, the shortest first.
std::vector<std::string> suffixes_of(const std::string& name) {
  std::vector<std::string> suffixes;
  for (size_t dot = name.rfind('.'); dot != std::string::npos && dot > 0;
       dot = name.rfind('.', dot - 1))
    suffixes.push_back(name.substr(dot + 1));
  if (name.starts_with('.'))
    suffixes.push_back(name.substr(1));
  suffixes.push_back(name);
  return suffixes;
}

}  // namespace

bool full_match(const std::string& pattern, const std::string& name, const RegexMatcher& matcher) {
  return is_plain(pattern) ? plain_match(pattern, name)
                           : regex_match(pattern, name, matcher, pattern);
}

bool is_or_ends_in(std::string_view name, std::string_view entry) {
  return name == entry || (name.size() > entry.size() && name.ends_with(entry) &&
                           name[name.size() - entry.size() - 1] == '.');
}

bool means(const Targets& targets, const std::string& name, const RegexMatcher& matcher) {
  if (targets.kind() == Targets::Kind::regex)
    return full_match(targets.pattern(), name, matcher);
  return std::ranges::any_of(targets.names(),
                             [&](const std::string& entry) { return is_or_ends_in(name, entry); });
}

std::optional<int64_t> layer_index(const std::string& name,
                                   const std::vector<std::string>& patterns,
                                   const RegexMatcher& matcher) {
  if (patterns.empty()) {
    const size_t first_dot = name.find('.');
    for (const Number& number : numbers_in(name)) {
      if (first_dot + 1 < number.begin)
        return value_of(name, number);
    }
    return std::nullopt;
  }
  for (const std::string& pattern : patterns) {
    const LayerMatch match = is_plain(pattern) ? match_plain_layer(pattern, name)
                                               : match_regex_layer(pattern, name, matcher);
    if (match.matched)
      return match.index;
  }
  return std::nullopt;
}

bool is_inside(const std::string& name, const std::string& entry, const RegexMatcher& matcher) {
  if (!is_plain(entry))
    return regex_match(R"((^|.*\.)(?:)" + entry + R"()($|\..*))", name, matcher, entry);
  for (size_t begin = 0; begin + entry.size() <= name.size();) {
    const size_t end = begin + entry.size();
    if ((end == name.size() || name[end] == '.') &&
        plain_match(entry, std::string_view(name).substr(begin, entry.size())))
      return true;
    begin = name.find('.', begin) + 1;
    if (begin == 0)
      return false;
  }
  return false;
}

bool is_excluded(const LoraConfig& config, const std::string& name, const RegexMatcher& matcher) {
  // PEFT takes an empty regular expression for none.
  const bool is_empty = config.exclude_modules.kind() == Targets::Kind::regex &&
                        config.exclude_modules.pattern().empty();
  return !is_empty && means(config.exclude_modules, name, matcher);
}

bool is_targeted(const LoraConfig& config, const std::string& name, const RegexMatcher& matcher) {
  if (is_excluded(config, name, matcher) || !means(config.target_modules, name, matcher))
    return false;
  const bool is_saved = std::ranges::any_of(config.modules_to_save, [&](const std::string& entry) {
    return is_inside(name, entry, matcher);
  });
  if (is_saved)
    return false;
  // A name that is spelled out is meant whatever its layer.
  if (config.layers_to_transform.empty() ||
      std::ranges::find(config.target_modules.names(), name) != config.target_modules.names().end())
    return true;
  const std::optional<int64_t> index = layer_index(name, config.layers_pattern.values(), matcher);
  const std::vector<int64_t>& wanted = config.layers_to_transform.values();
  return index && std::ranges::find(wanted, *index) != wanted.end();
}

bool key_matches(const std::string& key, const std::string& name, const RegexMatcher& matcher) {
  if (key.starts_with('^') && is_plain(std::string_view(key).substr(1)))
    return plain_match(std::string_view(key).substr(1), name);
  if (!is_plain(key))
    return regex_match(R"((.*\.)?()" + key + ")", name, matcher, key);
  if (key.size() >= name.size())
    return plain_match(key, name);
  const size_t begin = name.size() - key.size();
  return name[begin - 1] == '.' && plain_match(key, std::string_view(name).substr(begin));
}

std::vector<std::string> minimal_targets(std::vector<std::string> targets,
                                         std::span<const std::string> others) {
  std::set<std::string> taken;
  for (const std::string& other : others) {
    for (std::string& suffix : suffixes_of(other))
      taken.insert(std::move(suffix));
  }
  std::vector<std::vector<std::string>> all_suffixes;
  for (const std::string& target : targets)
    all_suffixes.push_back(suffixes_of(target));
  std::ranges::sort(all_suffixes);

  std::set<std::string> required;
  for (const std::vector<std::string>& suffixes : all_suffixes) {
    const bool is_covered = std::ranges::any_of(suffixes, [&](const std::string& suffix) {
      return suffix.size() < suffixes.back().size() && required.contains(suffix);
    });
    if (is_covered)
      continue;
    const auto free = std::ranges::find_if(suffixes, [&](const std::string& suffix) {
      return !required.contains(suffix) && !taken.contains(suffix);
    });
    if (free != suffixes.end())
      required.insert(*free);
  }
  return {required.begin(), required.end()};
}

}  // namespace graft::peft
