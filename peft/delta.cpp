#include "graft/peft/delta.h"

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

}  // namespace

void check_finite(const std::vector<NamedDelta>& deltas, const std::string& place) {
  for (const auto& [adapter, delta] : deltas) {
    for (const Tensor& part : {delta.a, delta.b, delta.weight, delta.bias})
      GRAFT_CHECK(!part.defined() || ops::all_finite(part), NonFiniteError, "the adapter \"",
                  adapter, "\" has a NaN or an infinite number at ", place,
                  "; it is broken, and nothing was changed");
  }
}

Tensor change_of_weight(const std::vector<NamedDelta>& deltas) {
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

Tensor change_of_bias(const std::vector<NamedDelta>& deltas) {
  Tensor sum;
  for (const auto& [adapter, delta] : deltas)
    add_up(sum, delta.bias);
  return sum;
}

}  // namespace graft::peft
