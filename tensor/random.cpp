#include "graft/tensor/random.h"

namespace graft {

constinit Slot<RandomArgs> random_slot("random");

uint64_t stream_of(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

namespace ops {

Tensor uniform(Shape shape, double low, double high, uint64_t seed, uint64_t stream, DType dtype) {
  Tensor y = Tensor::empty(shape, dtype);
  if (y.numel() > 0)
    random_slot(y.device(), {y.as_view(), seed, stream, low, high, /*normal=*/false});
  return y;
}

Tensor normal(Shape shape, double mean, double deviation, uint64_t seed, uint64_t stream,
              DType dtype) {
  Tensor y = Tensor::empty(shape, dtype);
  if (y.numel() > 0)
    random_slot(y.device(), {y.as_view(), seed, stream, mean, deviation, /*normal=*/true});
  return y;
}

}  // namespace ops
}  // namespace graft
