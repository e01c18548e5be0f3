// Python's operations on strings, by characters of valid UTF-8 text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

/// Bytes of the character at a byte position.
size_t size_of_character(std::string_view text, size_t position);
/// Python's len().
int64_t count_characters(std::string_view text);
/// Byte offsets of all characters, and of the end.
std::vector<size_t> character_offsets(std::string_view text);

/// Byte offset of `part` in `text`, searching from `begin` on or from the end; npos where it is not
/// there. In linear time, whatever the texts are.
size_t find_first(std::string_view text, std::string_view part, size_t begin = 0);
size_t find_last(std::string_view text, std::string_view part);

/// str.isspace of one character.
bool is_space(char32_t code_point);
/// str.strip and its one-sided forms, of white space.
std::string_view stripped(std::string_view text, bool left, bool right);
/// The same, of the characters in `set`.
std::string_view stripped_of(std::string_view text, std::string_view set, bool left, bool right);

/// str.replace; count < 0 for all. Throws RenderError where the text grows beyond max_text.
std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                     int64_t count);

/// str.upper, str.lower; a final sigma is written as such.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
/// str.capitalize, str.title, str.swapcase.
std::string capitalized(std::string_view text);
std::string titled(std::string_view text);
std::string with_swapped_case(std::string_view text);

/// Classes of characters as str.isalpha and the like have them.
bool is_cased(char32_t code_point);
bool is_lower(char32_t code_point);
bool is_upper(char32_t code_point);
bool is_letter(char32_t code_point);
bool is_digit(char32_t code_point);
/// Digits that are no decimal ones: ² and the like.
bool is_digit_sign(char32_t code_point);

/// str.splitlines.
std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends);
/// str.split() and str.rsplit() at white space; most < 0 for no limit.
std::vector<std::string_view> words_of(std::string_view text, int64_t most, bool from_right);
/// str.split and str.rsplit at a separator, which is not empty.
std::vector<std::string_view> parts_of(std::string_view text, std::string_view separator,
                                       int64_t most, bool from_right);

/// `text` with & < > ' " as HTML writes them.
std::string escaped_for_html(std::string_view text);

}  // namespace graft::text::jinja
