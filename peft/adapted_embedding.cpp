#include "graft/peft/adapted_embedding.h"

#include "graft/autograd/pointwise.h"

namespace graft::peft {

Variable AdaptedEmbedding::forward(const Tensor& ids, const nn::Context& context) const {
  const Variable base = base_->forward(ids, context);
  Variable y = base;
  for (const EmbeddingAdapter* adapter : adapters_.chosen(context)) {
    const Variable added = adapter->forward(ids, context);
    y = graft::add(to(y, added.dtype()), added);
  }
  return to(y, base.dtype());
}

std::unique_ptr<nn::Embedding> AdaptedEmbedding::release_base() {
  std::unique_ptr<nn::Embedding> base;
  base_.replace([&](std::unique_ptr<nn::Embedding> old) -> std::unique_ptr<nn::Embedding> {
    base = std::move(old);
    return nullptr;
  });
  return base;
}

}  // namespace graft::peft
