// AlignedText: a text on its way through a tokenizer, and where each of its bytes comes from.
//
// Normalisers rewrite text, byte-level tokenizers spell it in another alphabet; the origins tell at
// the end which bytes of the input a token stands for. They are exact to the byte where a step
// rewrites byte by byte or character by character, and cover the whole rewritten stretch otherwise.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "graft/text/byte_range.h"

namespace graft::text {

class AlignedText {
 public:
  /// The bytes `part` of `input`, each from its own place.
  AlignedText(std::string_view input, ByteRange part);
  /// An empty text for what becomes of this one.
  AlignedText successor() const;

  const std::string& text() const { return text_; }
  uint32_t size() const { return static_cast<uint32_t>(text_.size()); }
  bool empty() const { return text_.empty(); }
  /// Input bytes that byte `i` stands for; empty for what a step inserted.
  ByteRange origin(uint32_t i) const { return origins_[i]; }
  /// Input bytes that the bytes `part`, not empty, stand for together.
  ByteRange origin_of(ByteRange part) const {
    return {origins_[part.begin].begin, origins_[part.end - 1].end};
  }

  void reserve(size_t bytes);
  /// Appends `bytes` that all stand for the same input bytes. Throws ConfigError where the text
  /// would become much longer than the input: no stage makes 64 bytes of each, but that of a file
  /// that is up to no good.
  void append(std::string_view bytes, ByteRange origin);
  /// Appends the bytes `part` of another text with their origins.
  void append(const AlignedText& other, ByteRange part);

 private:
  AlignedText() = default;
  void check_growth(size_t bytes) const;

  std::string text_;
  std::vector<ByteRange> origins_;  // one per byte of text_
  size_t most_bytes_ = 0;           // that it and its successors may have
};

}  // namespace graft::text
