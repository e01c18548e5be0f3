// Rows: which samples share a row of a batch.
//
// Without packing each sample has a row of its own. With it, samples are put behind each other in
// rows of a fixed number of tokens, which leaves little padding; attention and positions keep them
// apart, so that the numbers are those of rows of their own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graft/text/sample_source.h"

namespace graft::train {

class Rows {
 public:
  /// Each sample in a row of its own.
  static Rows one_each(int64_t samples);
  /// First fit: each sample, in their order, goes into the first row that has room for it. A
  /// function of the lengths alone. Throws ConfigError where a sample is longer than a row, naming
  /// its line.
  static Rows packed(const text::Samples& samples, int64_t row_tokens);

  int64_t size() const { return static_cast<int64_t>(starts_.size()) - 1; }
  /// The samples of a row, by number.
  std::span<const int64_t> operator[](int64_t row) const {
    const auto begin = static_cast<size_t>(starts_[static_cast<size_t>(row)]);
    const auto end = static_cast<size_t>(starts_[static_cast<size_t>(row) + 1]);
    return std::span(samples_).subspan(begin, end - begin);
  }

 private:
  std::vector<int64_t> samples_;       // row after row
  std::vector<int64_t> starts_ = {0};  // of the rows in samples_, and the end
};

}  // namespace graft::train
