// Parts of a weight that an adapter can begin with, and which are then taken out of the weight.
#pragma once

#include <string_view>

#include "graft/peft/config.h"
#include "graft/tensor/tensor.h"

namespace graft::peft {

/// scaling · b a is the part, with a (r, in) and b (out, r).
struct BasePart {
  Tensor a, b;
};

/// The part of a weight (out, in) that config.init_lora_weights names, in the weight's dtype or
/// f32. PiSSA: that of its r largest singular values, their roots in a and in b. OLoRA: the first r
/// columns of Q and rows of R. `path` chooses the random directions of pissa_niter_N, nothing else
/// does, so that an adapter finds the same part when it is loaded. Throws ConfigError where r is
/// above the smaller size; NonFiniteError.
BasePart part_of(const Tensor& weight, int64_t r, double scaling, const LoraConfig& config,
                 std::string_view path);

}  // namespace graft::peft
