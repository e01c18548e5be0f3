#include "graft/cli/config_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

/// Walks over the text of one file.
class Reader {
 public:
  Reader(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  bool at_end() const { return position_ == text_.size(); }
  int64_t line() const { return line_; }
  char peek() const { return at_end() ? '\0' : text_[position_]; }
  char take() {
    const char c = text_[position_++];
    line_ += c == '\n' ? 1 : 0;
    return c;
  }
  bool take_if(char c) {
    const bool found = !at_end() && peek() == c;
    if (found)
      take();
    return found;
  }

  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\r')
      take();
  }
  void skip_comment() {
    if (peek() != '#')
      return;
    while (!at_end() && peek() != '\n')
      take();
  }
  /// Blanks, comments and ends of lines.
  void skip_lines() {
    for (size_t before = text_.size() + 1; before != position_;) {
      before = position_;
      skip_blanks();
      skip_comment();
      take_if('\n');
    }
  }
  /// What may stand behind a value or a section.
  void end_line() {
    skip_blanks();
    skip_comment();
    if (!at_end() && !take_if('\n'))
      fail(concat("unexpected '", peek(), "' behind a value; one setting a line"));
  }

  std::string key() {
    std::string result;
    while (is_key_character(peek()))
      result += peek() == '_' ? (take(), '-') : take();
    if (result.empty())
      fail(concat("expected a key such as learning-rate, found '", peek(), "'"));
    return result;
  }
  /// A text in quotes, or a bare number or word.
  std::string value() {
    if (take_if('\''))
      return literal();
    if (take_if('"'))
      return text();
    std::string result;
    while (is_key_character(peek()) || peek() == '.' || peek() == '+')
      result += take();
    if (result.empty())
      fail("expected a value: a number, true, false, a text in quotes or a list of them");
    return result;
  }
  /// Behind '['.
  std::vector<std::string> list() {
    std::vector<std::string> values;
    for (skip_lines(); !take_if(']'); skip_lines()) {
      values.push_back(value());
      skip_lines();
      if (!take_if(',') && peek() != ']')
        fail("expected ',' or ']' in a list");
    }
    return values;
  }

  [[noreturn]] void fail(std::string_view what) const {
    throw ConfigError(concat(file_, ":", line_, ": ", what));
  }

 private:
  std::string literal() {
    std::string result;
    while (!take_if('\'')) {
      if (at_end() || peek() == '\n')
        fail("a text has no closing '");
      result += take();
    }
    return result;
  }
  std::string text() {
    std::string result;
    while (!take_if('"')) {
      if (at_end() || peek() == '\n')
        fail("a text has no closing \"");
      result += take_if('\\') ? escaped() : take();
    }
    return result;
  }
  char escaped() {
    constexpr std::string_view letters = "nrt\"\\";
    constexpr std::string_view meanings = "\n\r\t\"\\";
    const size_t index = at_end() ? letters.npos : letters.find(peek());
    if (index == letters.npos)
      fail("unknown escape in a text; \\n, \\r, \\t, \\\" and \\\\ are known (or use '...')");
    take();
    return meanings[index];
  }

  std::string_view text_;
  std::string file_;
  size_t position_ = 0;
  int64_t line_ = 1;
};

}  // namespace

std::vector<ConfigEntry> parse_config(std::string_view text, std::string_view file,
                                      std::string_view verb, std::span<const std::string> verbs) {
  Reader reader(text, file);
  std::vector<ConfigEntry> entries;
  std::set<std::string> seen;
  std::string section;
  for (reader.skip_lines(); !reader.at_end(); reader.skip_lines()) {
    if (reader.take_if('[')) {
      section = reader.key();
      if (!reader.take_if(']'))
        reader.fail("expected ']' behind the name of a section");
      if (std::find(verbs.begin(), verbs.end(), section) == verbs.end())
        reader.fail(concat("[", section, "] is no verb of graft", did_you_mean(section, verbs)));
      reader.end_line();
      continue;
    }
    ConfigEntry entry{.key = reader.key(), .values = {}, .is_list = false, .line = reader.line()};
    reader.skip_blanks();
    if (!reader.take_if('='))
      reader.fail(concat("expected '=' behind ", entry.key));
    reader.skip_blanks();
    entry.is_list = reader.take_if('[');
    entry.values = entry.is_list ? reader.list() : std::vector<std::string>{reader.value()};
    if (!seen.insert(section + "." + entry.key).second)
      reader.fail(concat(entry.key, " is set twice"));
    reader.end_line();
    if (section.empty() || section == verb)
      entries.push_back(std::move(entry));
  }
  return entries;
}

std::string toml_quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '\n':
        result += "\\n";
        break;
      case '\r':
        result += "\\r";
        break;
      case '\t':
        result += "\\t";
        break;
      case '"':
        result += "\\\"";
        break;
      case '\\':
        result += "\\\\";
        break;
      default:
        result += c;
    }
  }
  return result + "\"";
}

std::string to_toml(const io::Json& settings) {
  std::string text;
  for (const auto& [name, value] : settings.items()) {
    if (value.is_null())
      continue;
    const bool is_text = value.is_string();
    text += name + " = " +
            (is_text ? toml_quoted(value.get<std::string>()) : io::to_text(value, -1)) + "\n";
  }
  return text;
}

}  // namespace graft::cli
