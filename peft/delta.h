// Delta: what an adapter adds to the parameters of its layer, which is what merging adds.
#pragma once

#include <string>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::peft {

/// In the dtype of adapters. The change of the weight (rows, columns) is scale · b a where a and b
/// are defined, `weight` where that is, and nothing where neither is.
struct Delta {
  Tensor a{};  ///< (r, columns)
  Tensor b{};  ///< (rows, r)
  double scale = 1;
  Tensor weight{};  ///< (rows, columns), of kinds that are no product of two small matrices
  Tensor bias{};    ///< (rows) of a linear layer; undefined for nothing
};

/// A delta and the adapter it is of.
struct NamedDelta {
  std::string adapter;
  Delta delta;
};

/// Throws NonFiniteError, naming `place` and the adapter, where a delta has a number that is NaN or
/// infinite.
void check_finite(const std::vector<NamedDelta>& deltas, const std::string& place);

/// The sum of the changes of the weight, (rows, columns) in the dtype of adapters: one product of
/// all low-rank factors side by side. Undefined where no delta changes the weight.
Tensor change_of_weight(const std::vector<NamedDelta>& deltas);
/// The sum of the changes of the bias, (rows); undefined where there is none.
Tensor change_of_bias(const std::vector<NamedDelta>& deltas);

}  // namespace graft::peft
