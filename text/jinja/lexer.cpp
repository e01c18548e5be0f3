#include "graft/text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "graft/tensor/error.h"
#include "graft/text/jinja/escapes.h"
#include "graft/text/jinja/strings.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Longer ones first, so that "//" is not read as two divisions.
constexpr std::array<std::string_view, 26> symbols = {
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  "<",  ">", "=", ".", ":", "|", ",", ";"};

/// With "\n" for every line break, and without one at the end.
std::string with_plain_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && source.substr(i + 1).starts_with('\n'))
      continue;
    text += source[i] == '\r' ? '\n' : source[i];
  }
  if (text.ends_with('\n'))
    text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name)
      : text_(with_plain_newlines(source)), source_(text_), name_(name) {
    const size_t invalid = first_invalid_byte(source);
    if (invalid < source.size())
      throw FormatError(name, static_cast<int64_t>(invalid), "the template is not UTF-8");
  }

  std::vector<Token> run() {
    while (at_ < source_.size())
      read_text_and_tag();
    add(TokenKind::end);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError::at_line(name_, line_, what);
  }
  std::string_view rest() const { return source_.substr(at_); }
  bool at(std::string_view text) const { return rest().starts_with(text); }

  void advance(size_t count) {
    line_ += static_cast<int>(std::ranges::count(source_.substr(at_, count), '\n'));
    at_ += count;
  }

  void add(TokenKind kind, std::string text = {}) {
    tokens_.push_back({kind, std::move(text), line_});
  }

  void add_text(std::string_view text) {
    if (!text.empty())
      add(TokenKind::text, std::string(text));
  }

  // ---- plain text

  void read_text_and_tag() {
    size_t tag = source_.find('{', at_);
    while (tag != std::string_view::npos &&
           (tag + 1 == source_.size() ||
            std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos))
      tag = source_.find('{', tag + 1);
    if (tag == std::string_view::npos) {
      add_text(rest());
      at_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = sign_at(tag + 2);
    add_text(without_indent(source_.substr(at_, tag - at_), kind != '{', sign));
    advance(tag - at_ + (sign != ' ' ? 3 : 2));
    if (kind == '#')
      skip_comment();
    else if (kind == '{')
      read_tag(false);
    else if (!read_raw())
      read_tag(true);
  }

  char sign_at(size_t position) const {
    const char c = position < source_.size() ? source_[position] : ' ';
    return c == '-' || c == '+' ? c : ' ';
  }

  /// Takes the white space off the end of a text that the tag behind it does not want.
  std::string_view without_indent(std::string_view text, bool strips_blanks, char sign) const {
    if (sign == '-')
      return stripped(text, false, true);
    if (sign == '+' || !strips_blanks)
      return text;
    const size_t line_start = text.rfind('\n') + 1;  // 0 where there is none
    if (line_start == 0 && !line_starting_)
      return text;
    return stripped(text.substr(line_start), true, false).empty() ? text.substr(0, line_start)
                                                                  : text;
  }

  void skip_comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos)
      fail("a comment {# is not closed");
    const char sign = end > at_ ? sign_at(end - 1) : ' ';
    advance(end + 2 - at_);
    skip_space_behind(sign, true);
  }

  /// After a tag's end: "-" takes all white space, a block tag takes a newline.
  void skip_space_behind(char sign, bool trims_newline) {
    line_starting_ = false;
    if (sign == '-') {
      const size_t blanks = rest().size() - stripped(rest(), true, false).size();
      advance(blanks);
      line_starting_ = blanks > 0 && source_[at_ - 1] == '\n';
    } else if (sign != '+' && trims_newline && at("\n")) {
      advance(1);
      line_starting_ = true;
    }
  }

  void skip_space() { advance(rest().size() - stripped(rest(), true, false).size()); }

  /// Reads a raw block, of which `{%` was read; false where it is another tag.
  bool read_raw() {
    const size_t start = at_;
    const int start_line = line_;
    skip_space();
    const bool named = at("raw");
    if (named)
      advance(3);
    skip_space();
    if (!named || !(at("-%}") || at("%}"))) {
      at_ = start;
      line_ = start_line;
      return false;
    }
    const char sign = sign_at(at_);
    advance(sign == '-' ? 3 : 2);
    skip_space_behind(sign, false);
    for (size_t tag = source_.find("{%", at_); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 2))
      if (end_raw(tag))
        return true;
    fail("a {% raw %} is not closed");
  }

  /// Ends a raw block at a tag that may be its {% endraw %}.
  bool end_raw(size_t tag) {
    const char sign = sign_at(tag + 2);
    std::string_view behind = stripped(source_.substr(tag + (sign != ' ' ? 3 : 2)), true, false);
    if (!behind.starts_with("endraw"))
      return false;
    behind = stripped(behind.substr(6), true, false);
    const char end_sign =
        behind.empty() || !(behind[0] == '-' || behind[0] == '+') ? ' ' : behind[0];
    if (!behind.substr(end_sign != ' ').starts_with("%}"))
      return false;
    add_text(without_indent(source_.substr(at_, tag - at_), true, sign));
    const size_t end = source_.size() - behind.size() + (end_sign != ' ' ? 3 : 2);
    advance(end - at_);
    skip_space_behind(end_sign, true);
    return true;
  }

  // ---- tags

  void read_tag(bool statement) {
    add(statement ? TokenKind::statement_begin : TokenKind::output_begin);
    const int first_line = line_;
    const std::string_view end = statement ? "%}" : "}}";
    for (;;) {
      skip_space();
      if (at_ >= source_.size()) {
        line_ = first_line;
        fail(concat("a tag ", statement ? "{%" : "{{", " is not closed"));
      }
      const bool takes_sign = at("-") || (statement && at("+"));
      const bool signed_end = takes_sign && rest().substr(1).starts_with(end);
      if (brackets_.empty() && (signed_end || at(end))) {
        const char sign = signed_end ? source_[at_] : ' ';
        add(statement ? TokenKind::statement_end : TokenKind::output_end);
        advance(signed_end ? 3 : 2);
        return skip_space_behind(sign, statement);
      }
      read_token();
    }
  }

  void read_token() {
    const char c = source_[at_];
    if (c == '"' || c == '\'')
      return read_string(c);
    if (is_ascii_digit(c))
      return read_number();
    if (is_name_start(c)) {
      size_t size = 1;
      while (size < rest().size() && (is_name_start(rest()[size]) || is_ascii_digit(rest()[size])))
        ++size;
      return take(TokenKind::name, size);
    }
    const auto symbol = std::ranges::find_if(symbols, [&](std::string_view s) { return at(s); });
    if (symbol == symbols.end())
      fail(
          concat("unexpected character '", rest().substr(0, size_of_character(source_, at_)), "'"));
    check_bracket(c);
    take(TokenKind::symbol, symbol->size());
  }

  void take(TokenKind kind, size_t size) {
    add(kind, std::string(rest().substr(0, size)));
    at_ += size;
  }

  void check_bracket(char c) {
    constexpr std::string_view open = "([{";
    constexpr std::string_view close = ")]}";
    if (const size_t kind = open.find(c); kind != std::string_view::npos)
      brackets_ += close[kind];
    if (close.find(c) == std::string_view::npos)
      return;
    if (brackets_.empty())
      fail(concat("unexpected '", c, "'"));
    if (brackets_.back() != c)
      fail(concat("unexpected '", c, "', expected '", brackets_.back(), "'"));
    brackets_.pop_back();
  }

  /// Length of digits from `from` on, with single underscores between them.
  size_t digits(size_t from, std::string_view allowed = "0123456789") const {
    const std::string_view text = rest();
    size_t end = from;
    const auto is_allowed = [&](size_t i) {
      return i < text.size() && allowed.find(text[i]) != std::string_view::npos;
    };
    while (is_allowed(end) ||
           (end > from && end < text.size() && text[end] == '_' && is_allowed(end + 1)))
      ++end;
    return end - from;
  }

  void read_number() {
    const std::string_view text = rest();
    const auto is_at = [&](size_t i, std::string_view set) {
      return i < text.size() && set.find(text[i]) != std::string_view::npos;
    };
    size_t size = digits(0);
    size_t fraction = is_at(size, ".") ? digits(size + 1) : 0;
    if (fraction > 0)
      fraction += 1;
    size_t exponent = 0;
    if (is_at(size + fraction, "eE")) {
      const size_t mark = size + fraction + 1;
      const size_t sign = is_at(mark, "+-") ? 1 : 0;
      const size_t power = digits(mark + sign);
      exponent = power > 0 ? 1 + sign + power : 0;
    }
    const bool behind_point = at_ > 0 && source_[at_ - 1] == '.';
    if (!behind_point && fraction + exponent > 0)
      return take(TokenKind::number, size + fraction + exponent);
    if (text[0] == '0') {
      const std::string_view allowed = is_at(1, "xX")   ? "0123456789abcdefABCDEF"
                                       : is_at(1, "oO") ? "01234567"
                                       : is_at(1, "bB") ? "01"
                                                        : "";
      const size_t underscore = is_at(2, "_") ? 1 : 0;
      const size_t prefixed = allowed.empty() ? 0 : digits(2 + underscore, allowed);
      size = prefixed > 0 ? 2 + underscore + prefixed : digits(0, "0");
    }
    take(TokenKind::integer, size);
  }

  void read_string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote)
      end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
      fail("a string is not closed");
    std::string text;
    try {
      text = unescaped(source_.substr(at_ + 1, end - at_ - 1));
    } catch (const ConfigError& error) {
      fail(error.what());
    }
    add(TokenKind::string, std::move(text));
    advance(end + 1 - at_);
  }

  std::string text_;
  std::string_view source_;
  std::string_view name_;
  size_t at_ = 0;
  int line_ = 1;
  /// The text that follows begins a line: at the start, and after a tag that took a newline.
  bool line_starting_ = true;
  std::string brackets_;  ///< that are to be closed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source, std::string_view name) {
  return Lexer(source, name).run();
}

}  // namespace graft::text::jinja
