#include "graft/peft/adapted_linear.h"

#include <optional>
#include <utility>
#include <vector>

#include "graft/autograd/pointwise.h"

namespace graft::peft {

Variable AdaptedLinear::forward(const Variable& x, const nn::Context& context) const {
  std::vector<LowRank> terms;
  std::vector<const Adapter*> others;
  Variable bias;
  for (const Adapter* adapter : adapters_.chosen(context)) {
    std::optional<LowRank> term = adapter->low_rank(context);
    if (!term) {
      others.push_back(adapter);
      continue;
    }
    terms.push_back(std::move(*term));
    if (const Variable added = adapter->bias(); added.defined())
      bias = bias.defined() ? graft::add(bias, added) : added;
  }
  Variable y = base_->forward(x, context, {.terms = terms, .bias = bias});
  for (const Adapter* adapter : others)
    y = graft::add(y, adapter->forward(x, *base_, context));
  return y;
}

std::unique_ptr<nn::Linear> AdaptedLinear::release_base() {
  std::unique_ptr<nn::Linear> base;
  base_.replace([&](std::unique_ptr<nn::Linear> old) -> std::unique_ptr<nn::Linear> {
    base = std::move(old);
    return nullptr;
  });
  return base;
}

}  // namespace graft::peft
