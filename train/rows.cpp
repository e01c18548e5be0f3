#include "graft/train/rows.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "graft/tensor/error.h"
#include "graft/train/batch.h"

namespace graft::train {
namespace {

/// The room left in each of many rows, so that the first with enough is found in few steps: a tree
/// whose leaves are the rows and whose nodes hold the largest room below them.
class FreeRoom {
 public:
  FreeRoom(int64_t rows, int64_t room)
      : leaves_(std::bit_ceil(static_cast<size_t>(std::max<int64_t>(rows, 1)))),
        room_(2 * leaves_, room) {}

  /// Takes `tokens` from the first row that has so much room and returns it. There must be one.
  size_t take(int64_t tokens) {
    size_t node = 1;
    while (node < leaves_)
      node = room_[2 * node] >= tokens ? 2 * node : 2 * node + 1;
    const size_t row = node - leaves_;
    room_[node] -= tokens;
    for (node /= 2; node > 0; node /= 2)
      room_[node] = std::max(room_[2 * node], room_[2 * node + 1]);
    return row;
  }

 private:
  size_t leaves_;
  std::vector<int64_t> room_;
};

}  // namespace

Rows Rows::one_each(int64_t samples) {
  Rows rows;
  rows.samples_.resize(static_cast<size_t>(samples));
  std::iota(rows.samples_.begin(), rows.samples_.end(), int64_t{0});
  rows.starts_.resize(static_cast<size_t>(samples) + 1);
  std::iota(rows.starts_.begin(), rows.starts_.end(), int64_t{0});
  return rows;
}

Rows Rows::packed(const text::Samples& samples, int64_t row_tokens) {
  const auto count = static_cast<size_t>(samples.size());
  FreeRoom room(samples.size(), row_tokens);
  std::vector<size_t> row_of(count);
  for (size_t i = 0; i < count; ++i) {
    const auto index = static_cast<int64_t>(i);
    const text::SampleInfo info = samples.info(index);
    GRAFT_CHECK(info.tokens <= row_tokens, ConfigError, "packing: ", name_of(info, index), " has ",
                info.tokens, " tokens, at most ", row_tokens,
                " expected, the length of a row; cut it, or take longer rows");
    row_of[i] = room.take(info.tokens);
  }
  Rows rows;
  rows.starts_.assign(count == 0 ? 1 : *std::ranges::max_element(row_of) + 2, 0);
  for (const size_t row : row_of)
    ++rows.starts_[row + 1];
  std::partial_sum(rows.starts_.begin(), rows.starts_.end(), rows.starts_.begin());
  std::vector<int64_t> next(rows.starts_);
  rows.samples_.resize(count);
  for (size_t i = 0; i < count; ++i)
    rows.samples_[static_cast<size_t>(next[row_of[i]]++)] = static_cast<int64_t>(i);
  return rows;
}

}  // namespace graft::train
