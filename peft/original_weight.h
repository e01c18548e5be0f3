// What a weight was before it was put in 4 bits.
#pragma once

#include <functional>
#include <string>

#include "graft/tensor/tensor.h"

namespace graft::peft {

/// Gives a weight of the base model as it was before it was quantised, (out, in), by its path:
/// "model.layers.0.self_attn.q_proj.weight".
using OriginalWeight = std::function<Tensor(const std::string& path)>;

/// What the weight at a path was, in f32; `held` are its numbers in 4 bits. Throws ConfigError
/// where it is of another shape or farther away from them than quantising brings any.
Tensor original_of(const OriginalWeight& original, const std::string& path, const Tensor& held);

}  // namespace graft::peft
