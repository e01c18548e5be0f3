// The alphabet of byte-level tokenizers: one printable character for each of the 256 byte values,
// so that any text can be spelled, and any token written into a JSON file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace graft::text {

/// The character that stands for a byte, in UTF-8. Printable Latin-1 stands for itself, the others
/// are U+0100 and on, in order ("Ġ" is the space).
std::string_view letter_of_byte(unsigned char byte);

/// The byte that a character stands for, or nothing where it is not in the alphabet.
std::optional<unsigned char> byte_of_letter(char32_t letter);

/// The bytes that a token of the alphabet spells. A token with a character that is not in the
/// alphabet stands for its own bytes.
std::string spelled_bytes(std::string_view token);

}  // namespace graft::text
