// Dropout with its gradient; see tensor/dropout.h.
#pragma once

#include "graft/autograd/variable.h"
#include "graft/tensor/dropout.h"

namespace graft {

/// x (…, width) -> the same shape; x itself where the key's p is 0. Keeps nothing for backward.
Variable dropout(const Variable& x, const DropoutKey& key);

}  // namespace graft
