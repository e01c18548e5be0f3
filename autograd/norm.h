// Normalisation layers, with gradients.
#pragma once

#include "graft/autograd/variable.h"

namespace graft {

/// x · weight / sqrt(mean(x²) + eps) over the last dimension. x (…, D), weight (D).
Variable rms_norm(const Variable& x, const Variable& weight, double eps);

}  // namespace graft
