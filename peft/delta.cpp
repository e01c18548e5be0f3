#include "graft/peft/delta.h"

#include <algorithm>
#include <span>

#include "graft/tensor/columns.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

void add_up(Tensor& sum, const Tensor& part) {
  if (!part.defined())
    return;
  if (sum.defined())
    ops::add_(sum, part);
  else
    sum = part.clone();
}

/// x (rows, columns) · gain, in place.
void multiply_(Tensor& x, const Tensor& gain) {
  const int64_t rows = x.dim(0);
  if (gain.dim(0) != rows || gain.dim(1) != 1) {
    x = ops::scale_columns(x, gain.view({-1}));
    return;
  }
  const std::vector<double> factors = gain.to_vector();
  for (int64_t row = 0; row < rows; ++row) {
    Tensor part = x.slice(0, row, row + 1);
    ops::scale_(part, factors[static_cast<size_t>(row)]);
  }
}

/// What these deltas, of which none but the last has a gain, add to the weight.
Tensor sum_of(std::span<const NamedDelta> deltas) {
  std::vector<Tensor> as;
  std::vector<Tensor> bs;
  Tensor sum;
  for (const auto& [adapter, delta] : deltas) {
    if (delta.a.defined()) {
      as.push_back(delta.a);
      bs.push_back(ops::scale(delta.b, delta.scale));
    }
  }
  if (!as.empty())
    sum = ops::matmul(ops::concatenate(bs, 1), ops::concatenate(as, 0));
  for (const auto& [adapter, delta] : deltas)
    add_up(sum, delta.weight);
  return sum;
}

}  // namespace

void check_finite(const std::vector<NamedDelta>& deltas, const std::string& place) {
  for (const auto& [adapter, delta] : deltas) {
    for (const Tensor& part : {delta.a, delta.b, delta.weight, delta.gain, delta.bias})
      GRAFT_CHECK(!part.defined() || ops::all_finite(part), NonFiniteError, "the adapter \"",
                  adapter, "\" has a NaN or an infinite number at ", place,
                  "; it is broken, and nothing was changed");
  }
}

Tensor changed_weight(const Tensor& weight, const std::vector<NamedDelta>& deltas) {
  Tensor result = weight;
  for (auto first = deltas.begin(); first != deltas.end();) {
    auto last = std::find_if(first, deltas.end(),
                             [](const NamedDelta& named) { return named.delta.gain.defined(); });
    const Tensor gain = last == deltas.end() ? Tensor() : last->delta.gain;
    last += gain.defined() ? 1 : 0;
    if (Tensor sum = sum_of({first, last}); sum.defined()) {
      ops::add_(sum, result);
      result = sum;
    } else if (gain.defined()) {
      result = result.clone();
    }
    if (gain.defined())
      multiply_(result, gain);
    first = last;
  }
  return result;
}

Tensor change_of_bias(const std::vector<NamedDelta>& deltas) {
  Tensor sum;
  for (const auto& [adapter, delta] : deltas) {
    add_up(sum, delta.bias);
    if (sum.defined() && delta.gain.defined())
      sum = ops::mul(sum, delta.gain.view({-1}));
  }
  return sum;
}

}  // namespace graft::peft
