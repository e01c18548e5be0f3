// Overlong: what becomes of samples with more tokens than a run takes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace graft::text {

enum class Overlong {
  cut,    ///< the end is left out
  drop,   ///< the whole sample is left out
  split,  ///< several samples are made of it
};
/// "cut", "drop", "split".
std::string_view name_of(Overlong overlong);

/// Tokens [first, first + count) of a sample.
struct TokenRange {
  int64_t first = 0;
  int64_t count = 0;
  friend bool operator==(const TokenRange&, const TokenRange&) = default;
};

/// What is kept of a sample of `tokens`, nothing where it is dropped; `limit` 0 is none. The pieces
/// of a split sample begin with the last token of the one before: the first token of a sample is
/// never predicted, and so each is predicted once.
std::vector<TokenRange> kept_ranges(int64_t tokens, int64_t limit, Overlong overlong);

}  // namespace graft::text
