// The merges of a vocabulary that comes with scores instead (SentencePiece).
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "graft/text/bpe.h"

namespace graft::text {

/// The merges of a vocabulary whose tokens have scores instead: every way to cut a token into two
/// others is one, that of the highest score goes first, and of one token that whose left half has
/// the lowest id. Throws FormatError, naming `file`, where a token is longer than max_piece_bytes
/// or all of them are so long that there is no end of looking.
std::vector<Merge> merges_by_score(const std::vector<std::string_view>& tokens,
                                   const std::vector<double>& scores, std::string_view file);

/// Longer tokens do not occur; cutting them takes quadratic time.
inline constexpr size_t max_piece_bytes = 1024;

}  // namespace graft::text
