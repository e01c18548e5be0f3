// Delta: what an adapter changes of the parameters of its layer, which is what merging changes.
#pragma once

#include <string>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::peft {

/// In the dtype of adapters. What is added to the weight (rows, columns) is scale · b a where a and
/// b are defined, `weight` where that is, and nothing where neither is; the sum is multiplied by
/// the gain, and with it what earlier deltas added to the bias.
struct Delta {
  Tensor a{};  ///< (r, columns)
  Tensor b{};  ///< (rows, r)
  double scale = 1;
  Tensor weight{};  ///< (rows, columns), of kinds that are no product of two small matrices
  Tensor gain{};    ///< (rows, 1), or (1, columns); undefined for 1
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

/// A weight (rows, columns), in the dtype of adapters, under all deltas in their order. Between
/// gains there is one product of all low-rank factors side by side. Shares the weight's storage
/// where nothing changes it.
Tensor changed_weight(const Tensor& weight, const std::vector<NamedDelta>& deltas);
/// What all deltas together add to the bias, (rows); undefined where that is nothing.
Tensor change_of_bias(const std::vector<NamedDelta>& deltas);

}  // namespace graft::peft
