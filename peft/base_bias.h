// The bias of a base layer, which is no part of what adapters multiply.
#pragma once

#include "graft/nn/linear.h"

namespace graft::peft {

/// The layer's bias as the context has it, (out); undefined where there is none.
Variable bias_of(const nn::Linear& layer, const nn::Context& context);

/// factors · (y - bias), y (…, out), factors and bias (out); bias may be undefined.
Variable without_bias(const Variable& y, const Variable& factors, const Variable& bias);
/// factors · (y - bias) + bias.
Variable scaled_but_for_bias(const Variable& y, const Variable& factors, const Variable& bias);

}  // namespace graft::peft
