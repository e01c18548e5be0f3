// The parameters of two models of one architecture, beside each other.
#pragma once

#include <string>
#include <vector>

#include "graft/nn/causal_lm.h"

namespace graft::peft {

struct ParameterPair {
  std::string path;
  nn::Member* base;
  nn::Member* tuned;
};

/// All parameters in the model's order; where head and embedding share a matrix in both models,
/// that is there once. Throws ConfigError, naming the difference, where models are of different
/// types, where settings that their numbers depend on differ, or where their parameters do, in
/// number or shape; and where a weight is in 4 bits.
std::vector<ParameterPair> parameter_pairs(nn::CausalLM& base, nn::CausalLM& tuned);

}  // namespace graft::peft
