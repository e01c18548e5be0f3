#include "graft/cli/target_flags.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "graft/cli/word_list.h"
#include "graft/tensor/error.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

/// Names at least one module, in a way that can be understood.
void check_targets(const Flags& flags, std::string_view name, const std::string& text) {
  GRAFT_CHECK(targets_of(text).is_set(), ConfigError, flags.where(name), " is empty, expected ",
              name == "target-modules" ? "all-linear, " : "",
              "names with commas between, or re:REGEX");
  if (!text.starts_with("re:"))
    return;
  try {
    const text::Regex pattern(text.substr(3));
  } catch (const ConfigError& error) {
    throw ConfigError(concat(flags.where(name), ": ", error.what()));
  }
}

}  // namespace

void add_target_flags(Flags& flags, std::string& target_modules, std::string& exclude_modules) {
  flags.add("target-modules", target_modules, "LIST",
            "modules to adapt: all-linear, names with commas between, or re:REGEX");
  flags.add("exclude-modules", exclude_modules, "LIST",
            "modules to leave out: names with commas between, or re:REGEX");
}

void check_target_flags(const Flags& flags, const std::string& target_modules,
                        const std::string& exclude_modules) {
  check_targets(flags, "target-modules", target_modules);
  if (flags.given("exclude-modules"))
    check_targets(flags, "exclude-modules", exclude_modules);
}

peft::Targets targets_of(const std::string& text) {
  if (text.starts_with("re:"))
    return peft::Targets::regex(text.substr(3));
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "all-linear")
    return peft::Targets::all_linear();
  const std::vector<std::string> names = split(text);
  return names.empty() ? peft::Targets() : peft::Targets(names);
}

}  // namespace graft::cli
