#include "graft/peft/adapter.h"

#include "graft/tensor/error.h"

namespace graft::peft {

std::optional<LowRank> Adapter::low_rank(const nn::Context&) const {
  return std::nullopt;
}

Variable Adapter::forward(const Variable&, const nn::Linear&, const nn::Context&) const {
  throw Error("adapter: this kind defines neither low_rank nor forward");
}

}  // namespace graft::peft
