#include "graft/nn/init.h"

#include <cmath>

#include "graft/tensor/random.h"

namespace graft::nn {

Tensor kaiming_uniform(Shape shape, uint64_t seed, std::string_view path, DType dtype) {
  GRAFT_CHECK(shape.rank() == 2 && shape[1] > 0, ShapeError, "kaiming_uniform: shape ", shape,
              ", (out,in) expected");
  const double bound = 1 / std::sqrt(static_cast<double>(shape[1]));
  return ops::uniform(shape, -bound, bound, seed, stream_of(path), dtype);
}

Tensor normal(Shape shape, double deviation, uint64_t seed, std::string_view path, DType dtype) {
  return ops::normal(shape, 0, deviation, seed, stream_of(path), dtype);
}

void initialize(Module& root, double deviation, uint64_t seed, DType dtype) {
  for (const NamedMember& parameter : named_parameters(root)) {
    const Shape shape = parameter.member->shape();
    if (shape.rank() > 1)
      parameter.member->load(normal(shape, deviation, seed, parameter.path, dtype));
    else
      parameter.member->load(
          Tensor::full(shape, parameter.member->name() == "bias" ? 0 : 1, dtype));
  }
}

}  // namespace graft::nn
