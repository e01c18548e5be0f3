#include "graft/text/jinja/numbers.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "graft/text/jinja/strings.h"
#include "graft/text/jinja/value.h"

namespace graft::text::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

bool take_sign(std::string_view& text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+'))
    text.remove_prefix(1);
  return negative;
}

/// The base that a prefix such as "0x" names, or 0.
int base_of_prefix(std::string_view text) {
  if (text.size() < 2 || text[0] != '0')
    return 0;
  const char letter = static_cast<char>(text[1] | 0x20);
  return letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
}

/// Without the underscores, which stand between digits only; nothing where one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits += text[i];
      continue;
    }
    const bool between = i > 0 && i + 1 < text.size() && text[i - 1] != '_' && text[i + 1] != '_';
    if (!between)
      return std::nullopt;
  }
  return digits;
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  text = stripped(text, true, true);
  const bool negative = take_sign(text);
  const int prefix = base_of_prefix(text);
  if (prefix != 0 && (base == 0 || base == prefix)) {
    text.remove_prefix(2);
    base = prefix;
    if (text.starts_with('_'))
      text.remove_prefix(1);
  } else if (base == 0) {
    base = 10;
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != text.npos)
      return std::nullopt;
  }
  const auto digits = without_underscores(text);
  if (!digits || digits->empty())
    return std::nullopt;
  uint64_t magnitude = 0;
  const char* end = digits->data() + digits->size();
  const auto [at, error] = std::from_chars(digits->data(), end, magnitude, base);
  if (at != end || error == std::errc::invalid_argument)
    return std::nullopt;
  constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  GRAFT_CHECK(error == std::errc() && magnitude <= limit + (negative ? 1 : 0), RenderError,
              "the number ", *digits, " exceeds 64 bits");
  return static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
}

std::optional<double> parse_float(std::string_view text) {
  text = stripped(text, true, true);
  const bool negative = take_sign(text);
  const auto plain = without_underscores(text);
  if (!plain || plain->empty())
    return std::nullopt;
  const std::string lower = to_lower(*plain);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (!is_ascii_digit(lower[0]) && lower[0] != '.')
      return std::nullopt;
    const auto [at, error] = std::from_chars(lower.data(), lower.data() + lower.size(), value);
    if (at != lower.data() + lower.size() || error == std::errc::invalid_argument)
      return std::nullopt;
    if (error == std::errc::result_out_of_range)
      value = std::strtod(lower.c_str(), nullptr);
  }
  return negative ? -value : value;
}

}  // namespace graft::text::jinja
