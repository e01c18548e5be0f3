#include "graft/tensor/copy.h"

namespace graft {

constinit Slot<FillArgs> fill_slot("fill");
constinit Slot<CopyArgs> copy_slot("copy");

namespace ops {

void fill_(Tensor& y, double value) {
  GRAFT_CHECK(y.defined(), ShapeError, "fill: the tensor is undefined");
  if (y.numel() > 0)
    fill_slot(y.device(), {y.as_view(), value});
}

void copy_(Tensor& y, const Tensor& x) {
  GRAFT_CHECK(x.defined() && y.defined(), ShapeError, "copy: a tensor is undefined");
  GRAFT_CHECK(x.shape() == y.shape(), ShapeError, "copy: from ", x.shape(), " to ", y.shape());
  GRAFT_CHECK(x.device() == y.device(), DeviceError, "copy: from ", x.device(), " to ", y.device());
  if (y.numel() > 0)
    copy_slot(y.device(), {x.as_view(), y.as_view()});
}

Tensor concatenate(std::span<const Tensor> parts, int i) {
  GRAFT_CHECK(!parts.empty(), ShapeError, "concatenate: no tensor given");
  const Tensor& first = parts[0];
  GRAFT_CHECK(i >= -first.rank() && i < first.rank(), ShapeError, "concatenate: dimension ", i,
              " of ", first.shape());
  int64_t total = 0;
  for (const Tensor& part : parts) {
    GRAFT_CHECK(part.rank() == first.rank() && part.shape().with(i, 0) == first.shape().with(i, 0),
                ShapeError, "concatenate: ", first.shape(), " and ", part.shape(),
                " differ outside dimension ", i);
    GRAFT_CHECK(part.dtype() == first.dtype(), DTypeError, "concatenate: ", first.dtype(), " and ",
                part.dtype());
    total += part.dim(i);
  }
  Tensor joined = Tensor::empty(first.shape().with(i, total), first.dtype(), first.device());
  int64_t begin = 0;
  for (const Tensor& part : parts) {
    Tensor target = joined.slice(i, begin, begin + part.dim(i));
    copy_(target, part);
    begin += part.dim(i);
  }
  return joined;
}

}  // namespace ops
}  // namespace graft
