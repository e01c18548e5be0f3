// Normalisation layers, with gradients.
#pragma once

#include "graft/autograd/variable.h"

namespace graft {

/// x · (offset + weight) / sqrt(mean(x²) + eps) over the last dimension. x (…, D), weight (D).
Variable rms_norm(const Variable& x, const Variable& weight, double eps, double offset = 0);
/// (x - mean(x)) · weight / sqrt(variance(x) + eps) + bias over the last dimension. x (…, D),
/// weight and bias (D).
Variable layer_norm(const Variable& x, const Variable& weight, const Variable& bias, double eps);

}  // namespace graft
