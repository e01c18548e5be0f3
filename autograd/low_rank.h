// A low-rank term by itself, where no product is there to fuse it into.
#pragma once

#include "graft/autograd/linear.h"

namespace graft {

/// scale · (dropout(x) aᵀ) bᵀ, computed in the dtype of a and b and rounded once: x (…, K) -> (…, N)
/// in x's dtype.
Variable low_rank(const Variable& x, const LowRank& term);

}  // namespace graft
