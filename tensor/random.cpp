#include "graft/tensor/random.h"

#include <cmath>

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
  GRAFT_CHECK(low < high && std::isfinite(high - low), ConfigError, "uniform: [", low, ", ", high,
              ") given, a finite lower bound below a finite upper one expected");
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
