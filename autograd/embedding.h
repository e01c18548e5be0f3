// Looking up embeddings, with gradients.
#pragma once

#include "graft/autograd/variable.h"

namespace graft {

/// table (V,D), ids (…) i64 -> (…, D).
Variable embedding(const Variable& table, const Tensor& ids);

}  // namespace graft
