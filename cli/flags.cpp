#include "graft/cli/flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "CLI/CLI.hpp"

#include "graft/cli/commands.h"
#include "graft/cli/config_file.h"
#include "graft/cli/terminal.h"
#include "graft/io/file.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

constexpr int64_t max_config_bytes = 1 << 20;

/// The number that the whole of `text` is, or nothing.
template <class Number>
std::optional<Number> parse_number(const std::string& text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end)
    return std::nullopt;
  return value;
}

std::string range_text(const WholeRange& range) {
  if (range.most != WholeRange{}.most)
    return concat("a whole number from ", range.least, " to ", range.most);
  if (range.least != WholeRange{}.least)
    return concat("a whole number of at least ", range.least);
  return "a whole number";
}

std::string range_text(const RealRange& range) {
  const std::string least = concat(range.above_least ? "above " : "of at least ", range.least);
  if (range.most == RealRange{}.most)
    return range.least == RealRange{}.least ? "a number" : "a number " + least;
  if (range.above_least || range.below_most)
    return concat("a number ", least, " and ", range.below_most ? "below " : "at most ",
                  range.most);
  return concat("a number from ", range.least, " to ", range.most);
}

bool contains(const WholeRange& range, int64_t value) {
  return value >= range.least && value <= range.most;
}

bool contains(const RealRange& range, double value) {
  const bool fits_least = range.above_least ? value > range.least : value >= range.least;
  const bool fits_most = range.below_most ? value < range.most : value <= range.most;
  return std::isfinite(value) && fits_least && fits_most;
}

template <class Number, class Range>
Number number_in(const std::string& text, const Range& range, const std::string& where) {
  const std::optional<Number> value = parse_number<Number>(text);
  GRAFT_CHECK(value && contains(range, *value), ConfigError, where, " is '", shown(text),
              "', expected ", range_text(range));
  return *value;
}

/// --learning_rate=1 -> --learning-rate=1: names may be typed with underscores, values stay.
std::string with_dashes(const std::string& argument) {
  if (!argument.starts_with("--"))
    return argument;
  std::string result = argument;
  const size_t end = std::min(argument.find('='), argument.size());
  std::replace(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  return result;
}

std::string without_dashes(std::string_view name) {
  return std::string(name.substr(std::min(name.find_first_not_of('-'), name.size())));
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (const std::string& part : parts)
    result += (result.empty() ? "" : std::string(separator)) + part;
  return result;
}

}  // namespace

Flags::Flags(std::string verb, std::string summary)
    : verb_(std::move(verb)), summary_(std::move(summary)) {}

void Flags::group(std::string title) {
  group_ = std::move(title);
}

Flags::Flag& Flags::declare(std::string name, std::string placeholder, std::string help) {
  Flag flag;
  flag.name = without_dashes(name);
  flag.placeholder = std::move(placeholder);
  flag.help = std::move(help);
  flag.group = group_;
  return flags_.emplace_back(std::move(flag));
}

std::function<void(const std::string& text)> Flags::refusal_of_empty(const Flag& flag) const {
  return [at = where(flag.name), expected = flag.placeholder](const std::string& text) {
    GRAFT_CHECK(!text.empty(), ConfigError, at, " is empty, expected ", expected,
                "; what is not wanted is left out");
  };
}

void Flags::add(std::string name, std::string& value, std::string placeholder, std::string help) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.default_text = value;
  flag.set = [&value, refuse = refusal_of_empty(flag)](const std::string& text) {
    refuse(text);
    value = text;
  };
  flag.show = [&value] { return value.empty() ? io::Json() : io::Json(value); };
}

void Flags::add(std::string name, std::optional<std::string>& value, std::string placeholder,
                std::string help) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.set = [&value](const std::string& text) { value = text; };
  flag.show = [&value] { return value ? io::Json(*value) : io::Json(); };
}

void Flags::add(std::string name, int64_t& value, std::string placeholder, std::string help,
                WholeRange range) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.default_text = std::to_string(value);
  flag.set = [&value, range, at = where(flag.name)](const std::string& text) {
    value = number_in<int64_t>(text, range, at);
  };
  flag.show = [&value] { return io::Json(value); };
}

void Flags::add(std::string name, double& value, std::string placeholder, std::string help,
                RealRange range) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.default_text = number_text(value, 6);
  flag.set = [&value, range, at = where(flag.name)](const std::string& text) {
    value = number_in<double>(text, range, at);
  };
  flag.show = [&value] { return io::Json(value); };
}

void Flags::add(std::string name, std::optional<int64_t>& value, std::string placeholder,
                std::string help, WholeRange range) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.set = [&value, range, at = where(flag.name)](const std::string& text) {
    value = number_in<int64_t>(text, range, at);
  };
  flag.show = [&value] { return value ? io::Json(*value) : io::Json(); };
}

void Flags::add(std::string name, std::optional<double>& value, std::string placeholder,
                std::string help, RealRange range) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.set = [&value, range, at = where(flag.name)](const std::string& text) {
    value = number_in<double>(text, range, at);
  };
  flag.show = [&value] { return value ? io::Json(*value) : io::Json(); };
}

void Flags::add(std::string name, std::vector<std::string>& value, std::string placeholder,
                std::string help) {
  Flag& flag = declare(std::move(name), std::move(placeholder), std::move(help));
  flag.is_list = true;
  flag.set = [&value, refuse = refusal_of_empty(flag)](const std::string& text) {
    refuse(text);
    value.push_back(text);
  };
  flag.show = [&value] { return value.empty() ? io::Json() : io::Json(value); };
}

void Flags::add(std::string name, bool& value, std::string help) {
  Flag& flag = declare(std::move(name), "", std::move(help));
  flag.is_switch = true;
  flag.set = [&value, at = where(flag.name)](const std::string& text) {
    GRAFT_CHECK(text == "true" || text == "false", ConfigError, at, " is '", shown(text),
                "', expected true or false");
    value = text == "true";
  };
  flag.show = [&value] { return io::Json(value); };
}

void Flags::choice(std::string name, std::string& value, std::vector<std::string> words,
                   std::string help) {
  Flag& flag = declare(std::move(name), joined(words, "|"), std::move(help));
  flag.default_text = value;
  flag.set = [&value, words = std::move(words), at = where(flag.name)](const std::string& text) {
    GRAFT_CHECK(std::find(words.begin(), words.end(), text) != words.end(), ConfigError, at,
                " is '", shown(text), "', expected ", joined(words, " or "),
                did_you_mean(text, words));
    value = text;
  };
  flag.show = [&value] { return io::Json(value); };
}

void Flags::synonyms(std::string_view name,
                     std::vector<std::pair<std::string_view, std::string_view>> words) {
  Flag& flag = *find(name);
  flag.set = [set = std::move(flag.set), words = std::move(words)](const std::string& text) {
    const auto word = std::ranges::find(words, text, &decltype(words)::value_type::first);
    set(word == words.end() ? text : std::string(word->second));
  };
}

void Flags::positional(std::string name, std::string& value, std::string help) {
  add(name, value, name, std::move(help));
  flags_.back().is_positional = true;
}

void Flags::positionals(std::string name, std::vector<std::string>& values, std::string shown,
                        std::string help) {
  add(std::move(name), values, std::move(shown), std::move(help));
  flags_.back().is_positional = true;
}

void Flags::config_file() {
  add("config", config_path_, "FILE", "read flags from a TOML file; flags given here win");
  not_a_setting("config");
}

void Flags::rivals(std::string a, std::string b) {
  rivals_.emplace_back(std::move(a), std::move(b));
}

void Flags::not_a_setting(std::string_view name) {
  find(name)->is_setting = false;
}

void Flags::set_aside(std::string_view name, std::string_view other, std::string_view reason) {
  const bool wins = typed(other) && !typed(name);
  GRAFT_CHECK(!given(name) || wins, ConfigError, where(name), " ", reason);
  find(name)->is_set_aside = true;
}

void Flags::examples(std::vector<std::string> lines) {
  examples_ = std::move(lines);
}

const Flags::Flag* Flags::find(std::string_view name) const {
  const std::string plain = without_dashes(name);
  const auto flag = std::find_if(flags_.begin(), flags_.end(),
                                 [&](const Flag& candidate) { return candidate.name == plain; });
  return flag == flags_.end() ? nullptr : &*flag;
}

Flags::Flag* Flags::find(std::string_view name) {
  return const_cast<Flag*>(std::as_const(*this).find(name));
}

std::vector<std::string> Flags::names() const {
  std::vector<std::string> names;
  for (const Flag& flag : flags_)
    if (!flag.is_positional)
      names.push_back(flag.name);
  return names;
}

std::string Flags::where(std::string_view name) const {
  const Flag* flag = find(name);
  const bool bare = flag != nullptr && flag->is_positional;
  return concat(verb_, ": ", bare ? "" : "--", without_dashes(name));
}

bool Flags::given(std::string_view name) const {
  const Flag* flag = find(name);
  return flag != nullptr && flag->is_given;
}

bool Flags::typed(std::string_view name) const {
  const Flag* flag = find(name);
  return flag != nullptr && flag->is_typed;
}

const Flags::Flag* Flags::rival_of(const Flag& flag) const {
  for (const auto& [a, b] : rivals_) {
    if (flag.name == a)
      return find(b);
    if (flag.name == b)
      return find(a);
  }
  return nullptr;
}

void Flags::check_rivals() const {
  // A switch that is off wants nothing: a run's own settings say so of every switch.
  const auto wants = [this](std::string_view name) {
    const Flag& flag = *find(name);
    return flag.is_given && !(flag.is_switch && flag.show() == false);
  };
  for (const auto& [a, b] : rivals_)
    GRAFT_CHECK(!wants(a) || !wants(b), ConfigError, verb_, ": --", a, " and --", b,
                " are both given; give one of them");
}

void Flags::require(std::string_view name, std::string_view meaning) const {
  GRAFT_CHECK(given(name), ConfigError, where(name), " is missing: give ", meaning, " ('graft ",
              verb_, " --help' lists the flags)");
}

void Flags::refuse_unknown(const std::string& argument) const {
  if (!argument.starts_with('-'))
    throw ConfigError(concat(verb_, ": unexpected argument '", shown(argument),
                             "'; values stand behind their flag ('graft ", verb_,
                             " --help' lists the flags)"));
  const std::string name = without_dashes(argument.substr(0, argument.find('=')));
  const std::string close = nearest(name, names());
  throw ConfigError(concat(verb_, ": unknown flag '", shown(argument), "'",
                           close.empty() ? "" : " (did you mean '--" + close + "'?)", "; 'graft ",
                           verb_, " --help' lists the flags"));
}

void Flags::assign(Flag& flag, const std::vector<std::string>& values) {
  GRAFT_CHECK(flag.is_list || values.size() == 1, ConfigError, where(flag.name),
              " is given several times, expected once");
  for (const std::string& value : values) {
    GRAFT_CHECK(!value.starts_with("--") || find(value) == nullptr, ConfigError, where(flag.name),
                " needs a value, but ", value, " follows");
    flag.set(value);
  }
  flag.is_given = true;
}

void Flags::parse_command_line(std::vector<std::string> arguments) {
  CLI::App app;
  std::vector<CLI::Option*> options;
  for (const Flag& flag : flags_) {
    const std::string name = flag.is_positional ? flag.name : "--" + flag.name;
    const CLI::callback_t accept = [](const CLI::results_t&) { return true; };
    CLI::Option* option = flag.is_switch ? app.add_flag(name) : app.add_option(name, accept);
    options.push_back(option->take_all());
    if (flag.is_positional && flag.is_list)
      option->expected(-1);  // as many as there are
  }
  std::optional<std::string> stray;
  const std::string last = arguments.empty() ? "" : arguments.back();
  std::reverse(arguments.begin(), arguments.end());  // CLI11 reads from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    help_wanted_ = true;
    return;
  } catch (const CLI::ExtrasError&) {
    stray = app.remaining().front();
  } catch (const CLI::ArgumentMismatch&) {
    throw ConfigError(concat(verb_, ": ", shown(last), " needs a value"));
  } catch (const CLI::ParseError& error) {
    throw ConfigError(concat(verb_, ": ", error.what()));
  }
  for (size_t i = 0; i < flags_.size(); ++i)
    if (options[i]->count() > 0)
      assign(flags_[i], flags_[i].is_switch ? std::vector{options[i]->results().back()}
                                            : options[i]->results());
  if (stray)
    refuse_unknown(*stray);  // after `assign`, which knows better where a value was forgotten
  for (Flag& flag : flags_)
    flag.is_typed = flag.is_given;
}

void Flags::read_config(const std::string& path) {
  const std::string text = io::read_file(path, max_config_bytes);
  for (const ConfigEntry& entry : parse_config(text, path, verb_, verb_names())) {
    Flag* flag = find(entry.key);
    const bool known = flag != nullptr && !flag->is_positional && entry.key != "config";
    GRAFT_CHECK(known, ConfigError, path, ":", entry.line, ": graft ", verb_, " has no setting '",
                entry.key, "'", did_you_mean(entry.key, names()));
    const Flag* rival = rival_of(*flag);
    if (flag->is_typed || (rival != nullptr && rival->is_typed))
      continue;
    // A list for a flag that takes one text is that text with commas: target-modules = ["a", "b"].
    const bool one = entry.is_list && !flag->is_list && !entry.values.empty();
    try {
      assign(*flag, one ? std::vector{joined(entry.values, ",")} : entry.values);
    } catch (const ConfigError& error) {
      throw ConfigError(concat(path, ":", entry.line, ": ", error.what()));
    }
  }
  check_rivals();
}

bool Flags::parse(std::span<const std::string> arguments) {
  std::vector<std::string> dashed;
  for (const std::string& argument : arguments)
    dashed.push_back(with_dashes(argument));
  parse_command_line(std::move(dashed));
  if (help_wanted_)
    return false;
  if (!config_path_.empty())
    read_config(config_path_);
  check_rivals();
  return true;
}

io::Json Flags::resolved() const {
  io::Json json = io::Json::object();
  for (const Flag& flag : flags_)
    if (flag.is_setting)
      json[flag.name] = flag.is_set_aside ? io::Json() : flag.show();
  return json;
}

std::string Flags::resolved_toml() const {
  return to_toml(resolved());
}

std::string Flags::usage() const {
  std::string text = "Usage: graft " + verb_;
  for (const Flag& flag : flags_)
    if (flag.is_positional)
      text += " " + flag.placeholder;
  return text + " [flags]";
}

std::string Flags::help(int columns) const {
  constexpr int left = 30;
  std::string text = usage() + "\n\n" + joined(wrapped(summary_, columns), "\n") + "\n";
  std::string group;
  for (const Flag& flag : flags_) {
    if (flag.group != group)
      text += "\n" + (group = flag.group) + "\n";
    const std::string gap = flag.placeholder.empty() ? "" : " ";
    std::string name = "  " + (flag.is_positional ? "" : "--" + flag.name + gap) + flag.placeholder;
    if (display_width(name) + 2 > left)
      name += "\n" + std::string(left, ' ');
    else
      name += std::string(static_cast<size_t>(left - display_width(name)), ' ');
    const std::string fallback = flag.default_text.empty() ? "" : " [" + flag.default_text + "]";
    const auto lines = wrapped(flag.help + fallback, std::max(columns - left, 30));
    text += name + joined(lines, "\n" + std::string(left, ' ')) + "\n";
  }
  if (!examples_.empty())
    text += "\nExamples\n  " + joined(examples_, "\n  ") + "\n";
  return text;
}

}  // namespace graft::cli
