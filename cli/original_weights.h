// The weights of a model as they were before they were put in 4 bits.
#pragma once

#include <string>

#include "graft/nn/causal_lm.h"
#include "graft/peft/original_weight.h"

namespace graft::cli {

/// Reads the matrices of the model at `path` one by one, as they are asked for: what the weights of
/// `quantized` that are in 4 bits were before. `flag` names the model in messages: "--model".
/// Throws as models::load does, and ConfigError where it has not all of them, or in another shape.
peft::OriginalWeight original_weights(const std::string& path, const std::string& flag,
                                      nn::CausalLM& quantized);

}  // namespace graft::cli
