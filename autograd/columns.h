// A factor for each column, with gradients.
#pragma once

#include "graft/autograd/variable.h"

namespace graft {

/// x (…, N) · factors (N) + bias (N). factors are f32 (f64 for f64), bias is in x's dtype or
/// undefined.
Variable scale_columns(const Variable& x, const Variable& factors, const Variable& bias = {});

}  // namespace graft
