// Looking rows up, and adding gradients back to them.
#pragma once

#include "graft/tensor/packed_tensor.h"
#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// y (tokens, D) = table (V, D)[ids], ids (tokens) i64 in [0, V). ids and y row-major, table of any
/// strides.
struct EmbeddingArgs {
  TensorView table, ids, y;
};
/// dtable (V, D) += dy (tokens, D) at ids, tokens in order.
struct EmbeddingBackwardArgs {
  TensorView dy, ids, dtable;
};
extern Slot<EmbeddingArgs> embedding_slot;
extern Slot<EmbeddingBackwardArgs> embedding_backward_slot;

namespace ops {

/// table (V, D), of which views are read in place, ids (…) i64 -> (…, D). Throws ShapeError naming
/// an id outside [0, V).
Tensor embedding(const Tensor& table, const Tensor& ids);
Tensor embedding(const PackedTensor& table, const Tensor& ids);
/// dy (…, D), ids (…) -> (V, D).
Tensor embedding_backward(const Tensor& dy, const Tensor& ids, int64_t vocabulary);

}  // namespace ops
}  // namespace graft
