#include "graft/text/byte_alphabet.h"

#include <array>

#include "graft/text/unicode.h"

namespace graft::text {
namespace {

constexpr char32_t first_invented = 0x100;

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Alphabet {
  std::array<std::string, 256> letters;
  std::array<int16_t, first_invented + 256> bytes;  // -1: not in the alphabet

  Alphabet() {
    bytes.fill(-1);
    char32_t invented = first_invented;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t letter = stands_for_itself(byte) ? static_cast<char32_t>(byte) : invented++;
      letters[static_cast<size_t>(byte)] = to_utf8(letter);
      bytes[letter] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string_view letter_of_byte(unsigned char byte) {
  return alphabet().letters[byte];
}

std::optional<unsigned char> byte_of_letter(char32_t letter) {
  const auto& bytes = alphabet().bytes;
  if (letter >= bytes.size() || bytes[letter] < 0)
    return std::nullopt;
  return static_cast<unsigned char>(bytes[letter]);
}

std::string spelled_bytes(std::string_view token) {
  std::string result;
  for (size_t at = 0; at < token.size();) {
    const CodePoint letter = code_point_at(token, at);
    const auto byte = byte_of_letter(letter.value);
    if (!byte)
      return std::string(token);
    result.push_back(static_cast<char>(*byte));
    at += letter.size;
  }
  return result;
}

}  // namespace graft::text
