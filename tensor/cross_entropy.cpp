#include "graft/tensor/cross_entropy.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<CrossEntropyArgs> cross_entropy_slot("cross_entropy");

namespace ops {

Tensor cross_entropy_(Tensor& logits, const Tensor& labels, bool gradient) {
  GRAFT_CHECK(logits.rank() == 2 && logits.is_contiguous(), ShapeError,
              "cross_entropy: logits are ", logits.shape(), ", row-major (rows, V) expected");
  check_dtype("cross_entropy", "labels", labels, DType::i64);
  check_shape("cross_entropy", "labels", labels, {logits.dim(0)});
  for (const int64_t label : labels.span<int64_t>())
    GRAFT_CHECK(label >= 0 && label < logits.dim(1), ShapeError, "cross_entropy: label ", label,
                " given, there are ", logits.dim(1), " logits");
  Tensor loss = Tensor::empty({logits.dim(0)}, accumulator_dtype(logits.dtype()), logits.device());
  if (logits.numel() > 0)
    cross_entropy_slot(logits.device(),
                       {logits.as_view(), labels.as_view(), loss.as_view(), gradient});
  return loss;
}

}  // namespace ops
}  // namespace graft
