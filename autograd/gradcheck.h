// gradcheck: compares recorded gradients with central differences.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graft/autograd/variable.h"

namespace graft {

/// The allowed difference of an entry is absolute + relative · |numeric|. The defaults are those of
/// torch.autograd.gradcheck, which like this one works in f64.
struct GradcheckOptions {
  double epsilon = 1e-6;
  double absolute = 1e-5;
  double relative = 1e-3;
};

struct GradcheckResult {
  bool passed = true;
  double worst = 0;     ///< largest difference / allowed difference
  std::string message;  ///< which entry of which input, both values; empty where all passed
};

/// Checks d(Σ weights · function(inputs)) / d(each input) with fixed random weights, for every
/// entry of every input that requires a gradient. Inputs are f64 leaves.
GradcheckResult gradcheck(
    const std::function<Variable(const std::vector<Variable>& inputs)>& function,
    std::vector<Variable> inputs, const GradcheckOptions& options = {});

}  // namespace graft
