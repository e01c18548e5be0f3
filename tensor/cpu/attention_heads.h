// What the attention kernels share: one head as a matrix, and which keys a query sees.
#pragma once

#include <algorithm>
#include <cstdint>

#include "graft/tensor/cpu/operand.h"

namespace graft::cpu_kernels {

/// One head of one row of a (B,T,H,D) view, as a (T,D) matrix.
inline Operand head_matrix(const TensorView& x, int64_t row, int64_t head) {
  Operand matrix;
  matrix.view.rank = 2;
  matrix.view.dtype = x.dtype;
  matrix.view.data = static_cast<char*>(x.data) + (row * x.strides[0] + head * x.strides[2]) *
                                                      static_cast<int64_t>(element_size(x.dtype));
  matrix.view.sizes[0] = x.sizes[1];
  matrix.view.sizes[1] = x.sizes[3];
  matrix.view.strides[0] = x.strides[1];
  matrix.view.strides[1] = 1;
  return matrix;
}

/// Which keys the queries of one row see.
class Visibility {
 public:
  Visibility(const TensorView& start, const TensorView& segments, int64_t window, int64_t row,
             int64_t queries, int64_t keys)
      : start_(start ? start.as<int64_t>()[row] : keys - queries),
        window_(window),
        keys_(keys),
        segments_(segments ? segments.as<int64_t>() + row * segments.strides[0] : nullptr) {}

  bool has_segments() const { return segments_ != nullptr; }
  bool sees(int64_t query, int64_t key) const {
    const int64_t last = start_ + query;
    return key <= last && (window_ == 0 || key > last - window_) &&
           (segments_ == nullptr || segments_[key] == segments_[last]);
  }
  /// True where the queries [query, query_end) see all keys [key, key_end).
  bool sees_all(int64_t query, int64_t query_end, int64_t key, int64_t key_end) const {
    return segments_ == nullptr && key_end <= start_ + query + 1 && key_end <= keys_ &&
           (window_ == 0 || key > start_ + query_end - 1 - window_);
  }
  /// True only where no query of [query, query_end) is in the segment of a key of [key, key_end).
  bool apart(int64_t query, int64_t query_end, int64_t key, int64_t key_end) const {
    if (segments_ == nullptr)
      return false;
    const auto [least, most] =
        std::minmax_element(segments_ + start_ + query, segments_ + start_ + query_end);
    const auto [first, last] = std::minmax_element(segments_ + key, segments_ + key_end);
    return *most < *first || *last < *least;
  }
  /// Bounds of the keys that any query of [first, last] sees by position.
  int64_t keys_begin(int64_t first) const {
    return window_ == 0 ? 0 : std::max<int64_t>(0, start_ + first - window_ + 1);
  }
  int64_t keys_end(int64_t last) const { return std::min(keys_, start_ + last + 1); }
  /// Bounds of the queries that see a key of [first, last] by position.
  int64_t queries_begin(int64_t first) const { return std::max<int64_t>(0, first - start_); }
  int64_t queries_end(int64_t last, int64_t queries) const {
    return window_ == 0 ? queries : std::min(queries, last + window_ - start_);
  }

 private:
  int64_t start_, window_, keys_;
  const int64_t* segments_;
};

}  // namespace graft::cpu_kernels
