#include "graft/autograd/embedding.h"

#include "graft/autograd/tape.h"
#include "graft/tensor/embedding.h"

namespace graft {

Variable embedding(const Variable& table, const Tensor& ids) {
  return record("embedding", ops::embedding(table.value(), ids), {table},
                [ids = save(ids), vocabulary = table.shape()[0]](const Grads& dy, Needs) -> Grads {
                  return {ops::embedding_backward(dy[0], *ids, vocabulary)};
                });
}

}  // namespace graft
