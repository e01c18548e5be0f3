// The merges of a vocabulary that comes with scores or an order instead of merges (SentencePiece).
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace graft::text {

/// A token that can be cut into two others: a merge of those. Indices of tokens.
struct PieceCut {
  size_t token = 0;
  size_t left = 0;
  size_t right = 0;
};

/// All ways to cut tokens in two others; token by token, and of each the shortest left half first.
/// Throws FormatError, naming `file`, where a token is longer than max_piece_bytes or all of them
/// are so long that there is no end of looking.
std::vector<PieceCut> find_piece_cuts(const std::vector<std::string_view>& tokens,
                                      std::string_view file);

/// Longer tokens do not occur; cutting them takes quadratic time.
inline constexpr size_t max_piece_bytes = 1024;

}  // namespace graft::text
