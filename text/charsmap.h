// Charsmap: SentencePiece's compiled table of characters and what they are normalised to.
//
// A table is what a tokenizer.json has as "precompiled_charsmap" and a tokenizer.model in its
// normalizer_spec: the bytes of a trie (a double array of the darts-clone library), then the
// replacements, each ended by a zero byte. Places in a table are checked when it is searched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft::text {

class Charsmap {
 public:
  /// Throws ConfigError where `bytes` is not such a table.
  explicit Charsmap(std::string_view bytes);

  /// What a text that is one character for its reader (a letter with its marks, say) becomes, or
  /// nothing where it stays. As in the reference, that is the replacement of the shortest text of
  /// the table that it begins with.
  std::optional<std::string_view> replacement(std::string_view text) const;

 private:
  std::vector<uint32_t> trie_;
  std::string replacements_;
};

/// The bytes that a base64 text stands for, or nothing where it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace graft::text
