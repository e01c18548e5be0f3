// Softmax cross-entropy of one chunk of logits.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// loss (rows) f32 (f64) = logsumexp(logits) - logits[label]; then, where `gradient`, logits become
/// softmax(logits) - onehot(label) in place. logits (rows, V) row-major; labels (rows) i64 in [0,
/// V).
struct CrossEntropyArgs {
  TensorView logits, labels, loss;
  bool gradient;
};
extern Slot<CrossEntropyArgs> cross_entropy_slot;

namespace ops {

/// Overwrites `logits` with the gradient of the summed loss where `gradient`; returns the loss of
/// each row.
Tensor cross_entropy_(Tensor& logits, const Tensor& labels, bool gradient);

}  // namespace ops
}  // namespace graft
