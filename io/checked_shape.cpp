#include "graft/io/checked_shape.h"

#include <algorithm>
#include <array>
#include <limits>

#include "graft/io/checked.h"

namespace graft::io {

std::optional<Shape> checked_shape(std::span<const uint64_t> sizes) {
  if (sizes.size() > Shape::max_rank)
    return std::nullopt;
  std::array<int64_t, Shape::max_rank> signed_sizes{};
  std::optional<int64_t> count = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] > std::numeric_limits<int64_t>::max())
      return std::nullopt;
    signed_sizes[i] = static_cast<int64_t>(sizes[i]);
    count = checked_mul(*count, std::max<int64_t>(signed_sizes[i], 1));
    if (!count)
      return std::nullopt;
  }
  return Shape(std::span<const int64_t>(signed_sizes).first(sizes.size()));
}

}  // namespace graft::io
