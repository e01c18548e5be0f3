// ByteRange: a piece of a text, by bytes. Texts that graft tokenises are shorter than 4 GiB, which
// halves what the ranges of a long text take.
#pragma once

#include <cstdint>
#include <string_view>

namespace graft::text {

/// Bytes [begin, end) of a text. Empty where begin == end.
struct ByteRange {
  uint32_t begin = 0;
  uint32_t end = 0;

  uint32_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  /// The bytes of `text` that lie in the range.
  std::string_view of(std::string_view text) const { return text.substr(begin, size()); }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// Longest text, in bytes, that can be tokenised in one piece.
inline constexpr size_t max_text_bytes = 0xffff'ffff;

}  // namespace graft::text
