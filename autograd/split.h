// Cutting a tensor into parts, with gradients.
#pragma once

#include <vector>

#include "graft/autograd/variable.h"

namespace graft {

/// Consecutive parts of dimension `i` (negative counts from the end), of the given sizes, which add
/// up to that of x. The parts share x's storage, so they are not contiguous unless `i` is 0.
std::vector<Variable> split(const Variable& x, int i, const std::vector<int64_t>& sizes);

}  // namespace graft
