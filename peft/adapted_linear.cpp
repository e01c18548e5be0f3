#include "graft/peft/adapted_linear.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "graft/autograd/pointwise.h"
#include "graft/tensor/error.h"

namespace graft::peft {

Variable AdaptedLinear::forward(const Variable& x, const nn::Context& context) const {
  std::vector<LowRank> terms;
  std::vector<const Adapter*> others;
  for (const auto& adapter : adapters_) {
    const bool applies =
        context.adapters && std::ranges::find(context.adapters->names, adapter->name()) !=
                                context.adapters->names.end();
    if (!applies)
      continue;
    if (std::optional<LowRank> term = (*adapter)->low_rank(context))
      terms.push_back(std::move(*term));
    else
      others.push_back(&**adapter);
  }
  Variable y = base_->forward(x, terms);
  for (const Adapter* adapter : others)
    y = graft::add(y, adapter->forward(x, *base_, context));
  return y;
}

void AdaptedLinear::add(const std::string& name, std::unique_ptr<Adapter> adapter) {
  GRAFT_CHECK(find(name) == nullptr, ConfigError, "add adapter: the layer has one called \"", name,
              "\" already");
  adapters_.reserve(adapters_.size() + 1);  // a member cannot leave its owner again
  adapters_.push_back(std::make_unique<nn::Child<Adapter>>(*this, name, std::move(adapter)));
}

Adapter* AdaptedLinear::find(std::string_view name) const {
  const auto found =
      std::ranges::find_if(adapters_, [&](const auto& adapter) { return adapter->name() == name; });
  return found == adapters_.end() ? nullptr : &***found;
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
