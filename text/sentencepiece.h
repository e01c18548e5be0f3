// SentencePiece's tokenizer.model: the pieces of a vocabulary and how it was trained.
//
// The file is a message of protocol buffers. Every length is compared with the bytes that remain
// before it is used; fields that graft has no use for are passed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace graft::text {

struct SentencePieceModel {
  /// Numbers of the file.
  enum class Kind : int64_t { unigram = 1, bpe, word, character };
  enum class Type : int64_t { normal = 1, unknown, control, user_defined, unused, byte };

  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };

  Kind kind = Kind::unigram;
  /// In the order of their ids.
  std::vector<Piece> pieces;
  // How texts are normalised before they are cut:
  /// The text gets a space before it.
  bool add_dummy_prefix = true;
  /// Spaces at the ends go, and of several in a row one stays.
  bool remove_extra_whitespaces = true;
  /// Whether characters are replaced by a table (charsmap.h).
  bool has_charsmap = false;
};

/// Reads a tokenizer.model. Throws FormatError with file and byte offset, and IoError.
SentencePieceModel read_sentencepiece_model(const std::filesystem::path& path);

}  // namespace graft::text
