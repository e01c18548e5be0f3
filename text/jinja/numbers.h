// Texts as numbers, as Python's int() and float() read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace graft::text::jinja {

/// int(text, base), base 0 or 2 to 36, with white space around it, a sign, a prefix such as 0x and
/// underscores between digits; nothing where it is no integer. Throws RenderError where 64 bits do
/// not hold it.
std::optional<int64_t> parse_integer(std::string_view text, int base);
/// float(text), "inf" and "nan" included; nothing where it is no number.
std::optional<double> parse_float(std::string_view text);

}  // namespace graft::text::jinja
