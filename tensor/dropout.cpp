#include "graft/tensor/dropout.h"

#include "graft/tensor/check.h"

namespace graft {

constinit Slot<DropoutArgs> dropout_slot("dropout");

namespace ops {

Tensor dropout(const Tensor& x, const DropoutKey& key) {
  if (key.p == 0)
    return x;
  GRAFT_CHECK(key.p > 0 && key.p < 1, ConfigError, "dropout: p is ", key.p,
              ", 0 <= p < 1 expected");
  GRAFT_CHECK(key.sample.defined() && key.position.defined(), Error,
              "dropout: the context does not say which sample each token belongs to");
  check_dtype("dropout", "sample", key.sample, DType::i64);
  check_dtype("dropout", "position", key.position, DType::i64);
  const Tensor rows = as_rows(x);
  check_shape("dropout", "sample", key.sample, {rows.dim(0)});
  check_shape("dropout", "position", key.position, {rows.dim(0)});
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (x.numel() > 0)
    dropout_slot(x.device(), {rows.as_view(), key.sample.as_view(), key.position.as_view(),
                              as_rows(y).as_view(), key.p, key.seed, key.step, key.module});
  return y;
}

}  // namespace ops
}  // namespace graft
