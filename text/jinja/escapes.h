// The escapes in string literals of a template.
#pragma once

#include <string>
#include <string_view>

namespace graft::text::jinja {

/// The text of a literal without its quotes, with Python's escapes resolved. Throws ConfigError for
/// an escape that is cut off, that names a character (\N), or that is no character.
std::string unescaped(std::string_view literal);

}  // namespace graft::text::jinja
