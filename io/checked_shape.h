// The shape of a tensor as a file has it, with the arithmetic of checked.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "graft/tensor/shape.h"

namespace graft::io {

/// The shape of these sizes, outermost first, or nothing where there are too many of them, or where
/// their product, a size of 0 counting as 1, does not fit an int64_t.
std::optional<Shape> checked_shape(std::span<const uint64_t> sizes);

}  // namespace graft::io
