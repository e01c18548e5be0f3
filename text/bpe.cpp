#include "graft/text/bpe.h"

#include <algorithm>
#include <bit>

#include "graft/tensor/error.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

constexpr char32_t short_characters = 0x800;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

/// Spreads the bits of a key over all 64 (the finaliser of MurmurHash3).
uint64_t hash(uint64_t key) {
  key = (key ^ key >> 33) * 0xff51afd7ed558ccdu;
  key = (key ^ key >> 33) * 0xc4ceb9fe1a85ec53u;
  return key ^ key >> 33;
}

}  // namespace

/// A token on its way: a link of the list of what is left of the piece.
struct Bpe::Symbol {
  int32_t id = Vocabulary::none;  // none: merged into the symbol before
  int32_t previous = -1;
  int32_t next = -1;
  ByteRange range;
};

/// A merge that was possible when it was noted.
struct Bpe::Candidate {
  int32_t rank = 0;
  int32_t left = 0;  // index of the left symbol
  int32_t id = 0;    // of the token the two become

  /// For a heap with the lowest rank on top, the leftmost where ranks are equal.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  }
};

struct Bpe::Scratch {
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
};

Bpe::Bpe(Vocabulary vocabulary, const std::vector<Merge>& merges, BpeOptions options,
         std::string_view file)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  if (options_.unk_token) {
    unk_id_ = vocabulary_.find(*options_.unk_token);
    if (unk_id_ == Vocabulary::none)
      throw FormatError(
          file, -1,
          concat("the unknown token '", *options_.unk_token, "' is not in the vocabulary"));
  }
  byte_ids_.fill(Vocabulary::none);
  if (options_.byte_fallback) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (size_t byte = 0; byte < 256; ++byte)
      byte_ids_[byte] = vocabulary_.find(concat("<0x", digits[byte >> 4], digits[byte & 15], ">"));
  }
  short_character_ids_.resize(short_characters);
  for (char32_t character = 0; character < short_characters; ++character)
    short_character_ids_[character] = vocabulary_.find(to_utf8(character));
  build_merges(merges, file);
}

void Bpe::build_merges(const std::vector<Merge>& merges, std::string_view file) {
  merges_.resize(std::bit_ceil(merges.size() * 2 + 1));
  const auto find = [&](const std::string& token, size_t rank) {
    const int32_t id = vocabulary_.find(token);
    if (id == Vocabulary::none)
      throw FormatError(
          file, -1,
          concat("merge ", rank, " ('", merges[rank].left, "' + '", merges[rank].right,
                 "') needs the token '", token, "', which is not in the vocabulary"));
    return id;
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    insert_merge({pair_key(find(left, rank), find(right, rank)), static_cast<int32_t>(rank),
                  find(merged(merges[rank], rank, file), rank)});
  }
}

std::string Bpe::merged(const Merge& merge, size_t rank, std::string_view file) const {
  const std::string& prefix = options_.continuing_subword_prefix;
  if (!merge.right.starts_with(prefix))
    throw FormatError(file, -1,
                      concat("merge ", rank, " ('", merge.left, "' + '", merge.right,
                             "'): the right half does not begin with '", prefix,
                             "', the continuing_subword_prefix"));
  return merge.left + merge.right.substr(prefix.size());
}

void Bpe::insert_merge(const Slot& merge) {
  size_t slot = hash(merge.pair) & (merges_.size() - 1);
  while (merges_[slot].id != Vocabulary::none && merges_[slot].pair != merge.pair)
    slot = (slot + 1) & (merges_.size() - 1);
  merges_[slot] = merge;  // of a merge that stands twice the last one counts
}

const Bpe::Slot* Bpe::find_merge(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  size_t slot = hash(key) & (merges_.size() - 1);
  while (merges_[slot].id != Vocabulary::none) {
    if (merges_[slot].pair == key)
      return &merges_[slot];
    slot = (slot + 1) & (merges_.size() - 1);
  }
  return nullptr;
}

bool Bpe::is_byte_token(int64_t id) const {
  return options_.byte_fallback && id >= 0 &&
         std::ranges::find(byte_ids_, static_cast<int32_t>(id)) != byte_ids_.end();
}

void Bpe::encode(std::string_view text, const std::vector<ByteRange>& pieces,
                 std::vector<BpeToken>& out) const {
  Scratch scratch;
  for (const ByteRange& piece : pieces) {
    if (options_.ignore_merges) {
      const int32_t whole = vocabulary_.find(piece.of(text));
      if (whole != Vocabulary::none) {
        out.push_back({whole, piece});
        continue;
      }
    }
    split_characters(text, piece, scratch.symbols);
    merge_symbols(scratch);
    for (const Symbol& symbol : scratch.symbols)
      if (symbol.id != Vocabulary::none)
        out.push_back({symbol.id, symbol.range});
  }
}

bool Bpe::has_affixes() const {
  return !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty();
}

std::string_view Bpe::spelled(std::string_view text, ByteRange piece, ByteRange character,
                              std::string& buffer) const {
  if (!has_affixes())
    return character.of(text);
  buffer.clear();
  if (character.begin != piece.begin)
    buffer += options_.continuing_subword_prefix;
  buffer += character.of(text);
  if (character.end == piece.end)
    buffer += options_.end_of_word_suffix;
  return buffer;
}

int32_t Bpe::find_character(std::string_view spelled) const {
  if (spelled.size() > 2 || has_affixes())
    return vocabulary_.find(spelled);
  return short_character_ids_[code_point_at(spelled, 0).value];
}

bool Bpe::has_all_bytes(std::string_view spelled) const {
  return std::ranges::all_of(spelled, [&](char byte) {
    return byte_ids_[static_cast<unsigned char>(byte)] != Vocabulary::none;
  });
}

void Bpe::split_characters(std::string_view text, ByteRange piece,
                           std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id, ByteRange range) {
    const auto index = static_cast<int32_t>(symbols.size());
    if (index > 0)
      symbols.back().next = index;
    symbols.push_back({id, index - 1, -1, range});
  };
  // Unknown characters wait for the next known one: the reference puts the bytes of a fallback
  // before them, which shows only in vocabularies without all 256 bytes.
  std::optional<ByteRange> unknown;
  std::string buffer;
  for (uint32_t at = piece.begin; at < piece.end;) {
    const ByteRange character{at, at + code_point_at(text, at).size};
    at = character.end;
    const std::string_view token = spelled(text, piece, character, buffer);
    const int32_t id = find_character(token);
    if (id != Vocabulary::none) {
      if (unknown)
        add(unk_id_, *unknown);
      unknown.reset();
      add(id, character);
    } else if (options_.byte_fallback && has_all_bytes(token)) {
      // An affix is spelled in bytes too; it shares the character's place.
      const bool plain = token.size() == character.size();
      for (uint32_t i = 0; i < token.size(); ++i)
        add(byte_ids_[static_cast<unsigned char>(token[i])],
            plain ? ByteRange{character.begin + i, character.begin + i + 1} : character);
    } else if (unk_id_ != Vocabulary::none) {
      if (unknown && options_.fuse_unk) {
        unknown->end = character.end;
        continue;
      }
      if (unknown)
        add(unk_id_, *unknown);
      unknown = character;
    }
  }
  if (unknown)
    add(unk_id_, *unknown);
}

void Bpe::add_candidate(const Scratch& scratch, int32_t left, std::vector<Candidate>& queue) const {
  const auto& symbols = scratch.symbols;
  const int32_t right = symbols[static_cast<size_t>(left)].next;
  if (right < 0)
    return;
  const Slot* merge =
      find_merge(symbols[static_cast<size_t>(left)].id, symbols[static_cast<size_t>(right)].id);
  if (merge != nullptr)
    queue.push_back({merge->rank, left, merge->id});
}

void Bpe::merge_symbols(Scratch& scratch) const {
  auto& [symbols, queue] = scratch;
  queue.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    add_candidate(scratch, static_cast<int32_t>(i), queue);
  std::make_heap(queue.begin(), queue.end());
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end());
    const Candidate best = queue.back();
    queue.pop_back();
    Symbol& left = symbols[static_cast<size_t>(best.left)];
    if (left.id == Vocabulary::none || left.next < 0)
      continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    // The neighbours may have changed since the candidate was noted.
    const Slot* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->id != best.id)
      continue;
    left.id = best.id;
    left.range.end = right.range.end;
    left.next = right.next;
    right.id = Vocabulary::none;
    if (left.next >= 0)
      symbols[static_cast<size_t>(left.next)].previous = best.left;
    for (const int32_t first : {left.previous, best.left}) {
      const size_t before = queue.size();
      if (first >= 0)
        add_candidate(scratch, first, queue);
      if (queue.size() > before)
        std::push_heap(queue.begin(), queue.end());
    }
  }
}

}  // namespace graft::text
