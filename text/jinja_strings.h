// Python's methods of strings, as far as chat templates call them, on UTF-8 text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

/// White space of ASCII.
bool is_space(char c);

/// str.strip and its one-sided forms; of white space where `what` is empty.
std::string stripped(std::string_view text, std::string_view what, bool left, bool right);

/// str.replace; count < 0 for all. Throws RenderError where `from` is empty or the text grows
/// beyond max_text.
std::string replaced(std::string text, std::string_view from, std::string_view to, int64_t count);

/// str.upper or str.lower of ASCII letters: what templates change the case of are roles and
/// keywords.
std::string with_case(std::string text, bool upper);

/// First letter of the text, or of each word, large; the others small.
std::string capitalized(std::string text, bool every_word);

/// Characters of UTF-8 text.
std::vector<std::string> characters_of(std::string_view text);

}  // namespace graft::text::jinja
