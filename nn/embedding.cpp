#include "graft/nn/embedding.h"

#include "graft/autograd/embedding.h"

namespace graft::nn {

Variable Embedding::forward(const Tensor& ids, const Context&) const {
  return weight_.visit([&](const auto& table) { return graft::embedding(table, ids); });
}

}  // namespace graft::nn
