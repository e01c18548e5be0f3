// Unicode as tokenizers need it: UTF-8, character classes, normalisation forms.
//
// Classes, lower case and normal forms are those of the reference whatever the installed libraries
// know (unicode_additions.h), because a tokenizer's ids must not depend on the machine. Functions
// that take "valid text" read past its end otherwise: check with first_invalid_byte where a text
// comes in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace graft::text {

/// Byte offset of the first byte that is not part of valid UTF-8; text.size() where all is valid.
size_t first_invalid_byte(std::string_view text);

/// `bytes` with U+FFFD for each longest run that could begin a character but does not complete it.
std::string replace_invalid_bytes(std::string_view bytes);

struct CodePoint {
  char32_t value = 0;
  /// Bytes the character takes in UTF-8, 1 to 4.
  uint32_t size = 0;
};

/// The character that starts at byte `position` of a valid text.
CodePoint code_point_at(std::string_view text, size_t position);
/// The last character of a valid text that is not empty.
CodePoint last_code_point(std::string_view text);
/// Appends a character as UTF-8.
void append_utf8(std::string& text, char32_t code_point);
std::string to_utf8(char32_t code_point);

/// General category as its two letters, e.g. "Lu"; "Cn" where unassigned.
std::string_view category(char32_t code_point);
/// Categories Nd, Nl, No, those of Unicode 17 included.
bool is_numeric(char32_t code_point);
/// Categories P* as of Unicode 8, and the ASCII symbols that count as punctuation ($ + < = > ^ ` |
/// ~).
bool is_punctuation(char32_t code_point);
/// The White_Space property.
bool is_whitespace(char32_t code_point);
/// Letters, marks, digits, letter-like symbols, connectors and joiners: `\w` of Unicode.
bool is_word_character(char32_t code_point);

/// Lower case without regard to context; İ becomes two characters.
void append_lowercase(std::string& text, char32_t code_point);

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// A valid text in a normal form. Throws OutOfMemory.
std::string normalized(std::string_view text, NormalForm form);
/// True where a normal form may be made of the text before and from this character on apart.
bool starts_normalization_chunk(char32_t code_point);
/// Byte offset behind the grapheme that starts at byte `position` of a valid text: the code points
/// that a reader sees as one character.
uint32_t end_of_grapheme(std::string_view text, uint32_t position);
/// True where the normal forms of the reference do not know the character: they let it stand, and
/// nothing composes with it or moves past it.
bool is_unknown_to_normalization(char32_t code_point);

}  // namespace graft::text
