// Normalisers: the first stage of a tokenizer, which rewrites the text between added tokens.
//
// Built from the "normalizer" of a tokenizer.json: NFC NFD NFKC NFKD Lowercase Prepend Replace
// Strip StripAccents Nmt Precompiled ByteLevel Sequence. Others are refused by name
// (BertNormalizer, which is for WordPiece). Immutable.
#pragma once

#include <memory>

#include "graft/io/json.h"
#include "graft/text/aligned_text.h"

namespace graft::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual AlignedText apply(AlignedText text) const = 0;
};

/// The normaliser in the member `key`, or nullptr where that is missing or null. Throws
/// FormatError.
std::unique_ptr<Normalizer> read_normalizer(const io::JsonObject& parent, std::string_view key);

/// Spells each byte as a letter of the byte alphabet.
AlignedText spelled_in_byte_alphabet(const AlignedText& text);

}  // namespace graft::text
