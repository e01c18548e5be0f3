// Shape: the sizes of a tensor's dimensions, outermost first, and the strides that go with them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

namespace graft {

/// A short list of sizes. A value; rank 0 is a scalar with one element; a size may be 0.
class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  /// Throws ShapeError where a size is negative, the rank is above max_rank, or the element count
  /// does not fit int64_t.
  Shape(std::initializer_list<int64_t> sizes);
  explicit Shape(std::span<const int64_t> sizes);

  int rank() const { return rank_; }
  /// The size of dimension `i`; negative `i` counts from the end. No range check.
  int64_t operator[](int i) const { return sizes_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }
  int64_t numel() const;
  std::span<const int64_t> sizes() const { return {sizes_.data(), static_cast<size_t>(rank_)}; }

  /// The same shape with dimension `i` replaced. Negative `i` counts from the end. Throws
  /// ShapeError where there is none.
  Shape with(int i, int64_t size) const;

  friend bool operator==(const Shape& a, const Shape& b);
  friend std::ostream& operator<<(std::ostream& out, const Shape& shape);

 private:
  std::array<int64_t, max_rank> sizes_{};
  int8_t rank_ = 0;
};

/// Steps between neighbours, in elements, one per dimension.
using Strides = std::array<int64_t, Shape::max_rank>;

/// Row-major strides: the last dimension has stride 1.
Strides contiguous_strides(const Shape& shape);

}  // namespace graft
