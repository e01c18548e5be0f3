// Byte-pair encoding: a piece of text starts as single characters; again and again the two
// neighbours whose merge has the lowest rank become one token, until none are left to merge.
//
// Takes O(n log n) for a piece of n characters. Immutable, safe to use from several threads.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/text/byte_range.h"
#include "graft/text/vocabulary.h"

namespace graft::text {

/// The two tokens that become one. Its place in the list of merges is its rank.
struct Merge {
  std::string left;
  std::string right;
};

struct BpeOptions {
  /// Token of characters that are not in the vocabulary; without one they are left out.
  std::optional<std::string> unk_token = {};
  /// Neighbouring unknown characters become one token.
  bool fuse_unk = false;
  /// Unknown characters become the tokens "<0x..>" of their bytes, where all of them exist.
  bool byte_fallback = false;
  /// A piece that is a token as a whole is that token, whatever the merges say.
  bool ignore_merges = false;
  /// Stands in the vocabulary before whatever does not begin a piece ("##ing").
  std::string continuing_subword_prefix = {};
  /// Stands in the vocabulary behind whatever ends a piece ("ing</w>").
  std::string end_of_word_suffix = {};
};

/// A token and the bytes of the encoded text it stands for.
struct BpeToken {
  int32_t id = 0;
  ByteRange range;
};

class Bpe {
 public:
  /// Throws FormatError, naming `file`, where a merge or the unknown token is not in the
  /// vocabulary, or the right half of a merge lacks the prefix of those that continue a piece.
  Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options,
      std::string_view file);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool byte_fallback() const { return options_.byte_fallback; }
  /// True for the tokens "<0x..>" of a model with byte fallback.
  bool is_byte_token(int64_t id) const;

  /// Appends the tokens of each piece of a valid text to `out`.
  void encode(std::string_view text, const std::vector<ByteRange>& pieces,
              std::vector<BpeToken>& out) const;

 private:
  struct Symbol;
  struct Candidate;
  struct Scratch;
  struct Slot {
    uint64_t pair = 0;
    int32_t rank = 0;
    int32_t id = Vocabulary::none;
  };

  bool has_affixes() const;
  /// How the vocabulary spells a character of a piece; may be put together in `buffer`.
  std::string_view spelled(std::string_view text, ByteRange piece, ByteRange character,
                           std::string& buffer) const;
  int32_t find_character(std::string_view spelled) const;
  bool has_all_bytes(std::string_view spelled) const;
  std::string merged(const Merge& merge, size_t rank, std::string_view file) const;
  void split_characters(std::string_view text, ByteRange piece, std::vector<Symbol>& symbols) const;
  void merge_symbols(Scratch& scratch) const;
  void add_candidate(const Scratch& scratch, int32_t left, std::vector<Candidate>& queue) const;
  void build_merges(const std::vector<Merge>& merges, std::string_view file);
  void insert_merge(const Slot& merge);
  const Slot* find_merge(int32_t left, int32_t right) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  int32_t unk_id_ = Vocabulary::none;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<int32_t>
      short_character_ids_;   // of code points below 0x800, which UTF-8 has in 2 bytes
  std::vector<Slot> merges_;  // a hash table with open addressing
};

}  // namespace graft::text
