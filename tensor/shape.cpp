#include "graft/tensor/shape.h"

#include <algorithm>

#include "graft/tensor/error.h"

namespace graft {

Shape::Shape(std::initializer_list<int64_t> sizes)
    : Shape(std::span<const int64_t>(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const int64_t> sizes) {
  GRAFT_CHECK(sizes.size() <= max_rank, ShapeError, "shape: ", sizes.size(),
              " dimensions, at most ", max_rank, " are supported");
  int64_t count = 1;
  for (const int64_t size : sizes) {
    GRAFT_CHECK(size >= 0, ShapeError, "shape: negative size ", size);
    GRAFT_CHECK(!__builtin_mul_overflow(count, std::max<int64_t>(size, 1), &count), ShapeError,
                "shape: more than 2^63 elements");
  }
  rank_ = static_cast<int8_t>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), sizes_.begin());
}

int64_t Shape::numel() const {
  int64_t count = 1;
  for (const int64_t size : sizes())
    count *= size;
  return count;
}

Shape Shape::with(int i, int64_t size) const {
  GRAFT_CHECK(i >= -rank_ && i < rank_, ShapeError, "shape: dimension ", i, " of ", *this,
              " replaced");
  Shape result = *this;
  result.sizes_[static_cast<size_t>(i < 0 ? i + rank_ : i)] = size;
  return result;
}

bool operator==(const Shape& a, const Shape& b) {
  return std::ranges::equal(a.sizes(), b.sizes());
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.rank(); ++i)
    out << (i ? ", " : "") << shape[i];
  return out << ')';
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides{};
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<size_t>(i)] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

}  // namespace graft
