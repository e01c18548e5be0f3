#include "graft/peft/adapter.h"

#include <algorithm>

#include "graft/autograd/tape.h"
#include "graft/tensor/error.h"

namespace graft::peft {

bool AdapterBase::is_trained() const {
  return std::ranges::any_of(members(), [](nn::Member* member) {
    const Variable* variable = member->variable();
    return variable != nullptr && needs_grad(*variable);
  });
}

std::optional<LowRank> Adapter::low_rank(const nn::Context&) const {
  return std::nullopt;
}

Variable Adapter::gain(const nn::Context&) const {
  return {};
}

Variable EmbeddingAdapter::gain(const nn::Context&) const {
  return {};
}

Variable Adapter::forward(const Variable&, const nn::Linear&, const nn::Context&) const {
  throw Error("adapter: this kind defines neither low_rank nor forward");
}

}  // namespace graft::peft
