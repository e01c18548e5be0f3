// Decoders: the stage that makes a text of the tokens.
//
// Built from the "decoder" of a tokenizer.json: ByteLevel ByteFallback Fuse Metaspace Replace Strip
// BPEDecoder Sequence. WordPiece and CTC, of other kinds of models, are refused by name. Immutable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "graft/io/json.h"

namespace graft::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Texts that, joined, are what the tokens stand for.
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
};

/// The decoder in the member `key`. One that joins the tokens with spaces where that is missing or
/// null. Throws FormatError.
std::unique_ptr<Decoder> read_decoder(const io::JsonObject& parent, std::string_view key);

}  // namespace graft::text
