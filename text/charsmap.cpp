#include "graft/text/charsmap.h"

#include <array>

#include "graft/tensor/error.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

constexpr size_t unit_bytes = 4;

uint32_t little_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < unit_bytes; ++i)  // fits: the caller has four bytes at `at`
    value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
  return value;
}

// A unit of the trie: the label of the edge into it, the way to its children, or at a leaf a value.
uint32_t label_of(uint32_t unit) {
  return unit & 0x8000'00ff;
}
bool has_leaf(uint32_t unit) {
  return (unit & 0x100) != 0;
}
uint32_t value_of(uint32_t unit) {
  return unit & 0x7fff'ffff;
}
uint32_t offset_of(uint32_t unit) {
  return unit >> 10 << ((unit & 0x200) >> 6);  // fits: 22 bits, moved by 8 at most
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  GRAFT_CHECK(bytes.size() >= unit_bytes, ConfigError, "charsmap: ", bytes.size(),
              " bytes, expected the size of a trie and more");
  const size_t size = little_endian(bytes, 0);
  // fits: there are four bytes
  GRAFT_CHECK(size > 0 && size % unit_bytes == 0 && size <= bytes.size() - unit_bytes, ConfigError,
              "charsmap: a trie of ", size, " bytes in a table of ", bytes.size());
  trie_.reserve(size / unit_bytes);
  // fits: the table goes on behind the trie, or ends there
  for (size_t at = unit_bytes; at < unit_bytes + size; at += unit_bytes)
    trie_.push_back(little_endian(bytes, at));
  replacements_ = bytes.substr(unit_bytes + size);  // fits: as above
  GRAFT_CHECK(first_invalid_byte(replacements_) == replacements_.size(), ConfigError,
              "charsmap: the replacements are not UTF-8 at byte ",
              first_invalid_byte(replacements_));
}

std::optional<std::string_view> Charsmap::replacement(std::string_view text) const {
  size_t node = offset_of(trie_[0]);
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    node ^= byte;
    if (byte == 0 || node >= trie_.size() || label_of(trie_[node]) != byte)
      return std::nullopt;
    const uint32_t unit = trie_[node];
    node ^= offset_of(unit);
    if (!has_leaf(unit))
      continue;
    const size_t begin = node < trie_.size() ? value_of(trie_[node]) : replacements_.size();
    if (begin >= replacements_.size() ||
        (static_cast<unsigned char>(replacements_[begin]) & 0xc0) == 0x80)
      throw ConfigError(concat("charsmap: the replacement of '", text, "' is said to be at byte ",
                               begin, " of ", replacements_.size()));
    // fits: it is found behind `begin`, or nowhere, and then all that follows is meant
    return std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::optional<std::string> from_base64(std::string_view text) {
  constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int, 256> digits;
  digits.fill(-1);
  for (size_t i = 0; i < alphabet.size(); ++i)
    digits[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
  while (text.ends_with('='))
    text.remove_suffix(1);
  std::string result;
  uint32_t bits = 0;
  int count = 0;
  for (const char character : text) {
    const int digit = digits[static_cast<unsigned char>(character)];
    if (digit < 0)
      return std::nullopt;
    bits = (bits << 6 | static_cast<uint32_t>(digit)) & 0xffff;  // fits: 22 bits
    count += 6;                                                  // fits: below 8 before
    if (count >= 8) {
      count -= 8;  // fits: as above
      result.push_back(static_cast<char>(bits >> count & 0xff));
    }
  }
  return result;
}

}  // namespace graft::text
