// Pre-tokenizers: the stage that cuts a normalised text into the pieces that the model encodes.
//
// Built from the "pre_tokenizer" of a tokenizer.json: ByteLevel Split Digits Punctuation Metaspace
// Whitespace WhitespaceSplit CharDelimiterSplit BertPreTokenizer FixedLength Sequence. Others are
// refused by name (UnicodeScripts, which only Unigram models use). Immutable.
#pragma once

#include <memory>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/aligned_text.h"

namespace graft::text {

/// A text and the pieces it has been cut into, in order, none of them empty. What lies between two
/// pieces has been removed.
struct Pieces {
  AlignedText text;
  std::vector<ByteRange> pieces;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Cuts the pieces further; may rewrite them.
  virtual Pieces apply(Pieces input) const = 0;
};

/// The pre-tokenizer in the member `key`, or nullptr where that is missing or null. Throws
/// FormatError.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const io::JsonObject& parent,
                                                 std::string_view key);

}  // namespace graft::text
