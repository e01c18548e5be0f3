#include "graft/text/jinja/escapes.h"

#include <cstdio>

#include "graft/tensor/error.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

int digit_of(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : 99;
}

/// Reads up to `most` digits of a base; all of them where `exact`.
char32_t take_code(std::string_view& text, int base, size_t most, bool exact) {
  char32_t code = 0;
  size_t count = 0;
  for (; count < most && count < text.size() && digit_of(text[count]) < base; ++count)
    code = code * static_cast<char32_t>(base) + static_cast<char32_t>(digit_of(text[count]));
  GRAFT_CHECK(!exact || count == most, ConfigError, "an escape in a string is cut off");
  GRAFT_CHECK(code < 0xd800 || (code > 0xdfff && code <= 0x10ffff), ConfigError,
              "an escape in a string is no character; write the character itself");
  text.remove_prefix(count);
  return code;
}

/// Jinja2 turns other characters into escapes before it resolves them, so that a backslash before
/// one shows how it is escaped.
std::string shown_escape(char32_t c) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer,
                c < 0x100     ? "\\x%02x"
                : c < 0x10000 ? "\\u%04x"
                              : "\\U%08x",
                static_cast<unsigned>(c));
  return buffer;
}

}  // namespace

std::string unescaped(std::string_view text) {
  constexpr std::string_view letters = "abfnrtv\\'\"";
  constexpr std::string_view meanings = "\a\b\f\n\r\t\v\\'\"";
  std::string result;
  while (!text.empty()) {
    const size_t mark = text.find('\\');
    result += text.substr(0, mark);
    if (mark == std::string_view::npos)
      break;
    text.remove_prefix(mark + 1);
    const CodePoint point = code_point_at(text, 0);
    const char c = point.value < 0x80 ? text[0] : 0;
    if (c >= '0' && c <= '7') {
      append_utf8(result, take_code(text, 8, 3, false));
      continue;
    }
    text.remove_prefix(point.size);
    const size_t known = c != 0 ? letters.find(c) : std::string_view::npos;
    GRAFT_CHECK(c != 'N', ConfigError,
                "the escape \\N is not supported; write the character itself");
    if (known != std::string_view::npos)
      result += meanings[known];
    else if (c == 'x' || c == 'u' || c == 'U')
      append_utf8(result, take_code(text, 16, c == 'x' ? 2 : c == 'u' ? 4 : 8, true));
    else if (point.value >= 0x80)
      result += shown_escape(point.value);
    else if (c != '\n')
      result += {'\\', c};
  }
  return result;
}

}  // namespace graft::text::jinja
