#include "graft/text/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "graft/tensor/error.h"

namespace graft::text::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// Longer ones first, so that "//" is not read as two divisions.
constexpr std::array<std::string_view, 25> symbols = {
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  "<",  ">", "=", ".", ":", "|", ","};

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view name) : source_(source), name_(name) {
    // Jinja drops one newline at the end of a template.
    if (source_.ends_with('\n'))
      source_.remove_suffix(source_.ends_with("\r\n") ? 2 : 1);
  }

  std::vector<Token> run() {
    while (at_ < source_.size())
      read_text_and_tag();
    tokens_.push_back({TokenKind::end, "", line_});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError::at_line(name_, line_, what);
  }

  void advance(size_t count) {
    line_ += static_cast<int>(std::ranges::count(source_.substr(at_, count), '\n'));
    at_ += count;
  }

  void read_text_and_tag() {
    size_t tag = source_.find('{', at_);
    while (tag != std::string_view::npos && tag + 1 < source_.size() &&
           std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos)
      tag = source_.find('{', tag + 1);
    if (tag == std::string_view::npos || tag + 1 >= source_.size()) {
      add_text(source_.substr(at_));
      at_ = source_.size();
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    add_text(without_indent(source_.substr(at_, tag - at_), kind, sign));
    advance(tag - at_);
    advance(sign == '-' || sign == '+' ? 3 : 2);
    if (kind == '#')
      skip_comment();
    else
      read_tag(kind == '%');
  }

  /// Takes the white space off the end of a text that the tag behind it does not want.
  std::string_view without_indent(std::string_view text, char kind, char sign) const {
    if (sign == '-') {
      while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
      return text;
    }
    if (sign == '+' || kind == '{')
      return text;
    const size_t line_start = text.rfind('\n') + 1;  // 0 where there is none
    if (line_start == 0 && !line_starting_)
      return text;
    return std::ranges::all_of(text.substr(line_start), is_space) ? text.substr(0, line_start)
                                                                  : text;
  }

  void add_text(std::string_view text) {
    if (!text.empty())
      tokens_.push_back({TokenKind::text, std::string(text), line_});
  }

  void skip_comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string_view::npos)
      fail("a comment {# is not closed");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    advance(end + 2 - at_);
    skip_space_behind(sign, /*trims_newline=*/true);
  }

  /// After a tag's end: "-" takes all white space, a block tag takes a newline.
  void skip_space_behind(char sign, bool trims_newline) {
    line_starting_ = false;
    if (sign == '-') {
      while (at_ < source_.size() && is_space(source_[at_])) {
        line_starting_ = source_[at_] == '\n';
        advance(1);
      }
    } else if (sign != '+' && trims_newline && at_ < source_.size() && source_[at_] == '\n') {
      advance(1);
      line_starting_ = true;
    }
  }

  void read_tag(bool statement) {
    tokens_.push_back(
        {statement ? TokenKind::statement_begin : TokenKind::output_begin, "", line_});
    const int first_line = line_;
    const std::string_view end = statement ? "%}" : "}}";
    int open_brackets = 0;
    for (;;) {
      while (at_ < source_.size() && is_space(source_[at_]))
        advance(1);
      if (at_ >= source_.size()) {
        line_ = first_line;
        fail(concat("a tag ", statement ? "{%" : "{{", " is not closed"));
      }
      const std::string_view rest = source_.substr(at_);
      const bool signed_end = (rest[0] == '-' || rest[0] == '+') && rest.substr(1).starts_with(end);
      if (open_brackets == 0 && (signed_end || rest.starts_with(end))) {
        tokens_.push_back(
            {statement ? TokenKind::statement_end : TokenKind::output_end, "", line_});
        const char sign = signed_end ? rest[0] : ' ';
        advance(signed_end ? 3 : 2);
        return skip_space_behind(sign, statement);
      }
      read_token(open_brackets);
    }
  }

  void read_token(int& open_brackets) {
    const char c = source_[at_];
    if (c == '"' || c == '\'')
      return read_string(c);
    if (is_digit(c))
      return read_number();
    if (is_name_start(c)) {
      const size_t begin = at_;
      while (at_ < source_.size() && (is_name_start(source_[at_]) || is_digit(source_[at_])))
        ++at_;
      tokens_.push_back({TokenKind::name, std::string(source_.substr(begin, at_ - begin)), line_});
      return;
    }
    for (const std::string_view symbol : symbols) {
      if (!source_.substr(at_).starts_with(symbol))
        continue;
      if (symbol == "(" || symbol == "[" || symbol == "{")
        ++open_brackets;
      else if (symbol == ")" || symbol == "]" || symbol == "}")
        --open_brackets;
      tokens_.push_back({TokenKind::symbol, std::string(symbol), line_});
      at_ += symbol.size();
      return;
    }
    fail(concat("unexpected character '", c, "'"));
  }

  void read_number() {
    const size_t begin = at_;
    bool fractional = false;
    const auto digits = [&] {
      while (at_ < source_.size() && (is_digit(source_[at_]) || source_[at_] == '_'))
        ++at_;
    };
    digits();
    if (at_ + 1 < source_.size() && source_[at_] == '.' && is_digit(source_[at_ + 1])) {
      fractional = true;
      ++at_;
      digits();
    }
    if (at_ < source_.size() && (source_[at_] == 'e' || source_[at_] == 'E')) {
      const size_t sign = at_ + 1;
      const bool is_signed =
          sign < source_.size() && (source_[sign] == '-' || source_[sign] == '+');
      if (const size_t digit = sign + is_signed;
          digit < source_.size() && is_digit(source_[digit])) {
        fractional = true;
        at_ = digit;
        digits();
      }
    }
    std::string text(source_.substr(begin, at_ - begin));
    std::erase(text, '_');
    tokens_.push_back({fractional ? TokenKind::number : TokenKind::integer, text, line_});
  }

  void read_string(char quote) {
    const int first_line = line_;
    std::string text;
    for (advance(1); at_ < source_.size() && source_[at_] != quote; advance(1)) {
      if (source_[at_] != '\\') {
        text += source_[at_];
        continue;
      }
      advance(1);
      if (at_ < source_.size())
        text += escaped(source_[at_]);
    }
    if (at_ >= source_.size()) {
      line_ = first_line;
      fail("a string is not closed");
    }
    advance(1);
    tokens_.push_back({TokenKind::string, text, first_line});
  }

  /// What a backslash and a character stand for, as in Python.
  std::string escaped(char c) const {
    switch (c) {
      case 'n':
        return "\n";
      case 't':
        return "\t";
      case 'r':
        return "\r";
      case '\\':
      case '\'':
      case '"':
        return std::string(1, c);
      case 'x':
      case 'u':
      case 'U':
      case 'N':
        fail(concat("the escape \\", c, " is not supported; write the character itself"));
      default:
        return {'\\', c};
    }
  }

  std::string_view source_;
  std::string_view name_;
  size_t at_ = 0;
  int line_ = 1;
  /// The text that follows begins a line: at the start, and after a tag that took a newline.
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex(std::string_view source, std::string_view name) {
  return Lexer(source, name).run();
}

}  // namespace graft::text::jinja
