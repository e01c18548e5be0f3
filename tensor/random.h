// Filling tensors with random numbers that depend on a seed and a stream only.
#pragma once

#include <cstdint>
#include <string_view>

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

/// Element i of y is drawn from counter i of (seed, stream): uniform in [a, b), or normal with mean
/// a and standard deviation b where `normal`. y row-major, floating.
struct RandomArgs {
  TensorView y;
  uint64_t seed, stream;
  double a, b;
  bool normal;
};
extern Slot<RandomArgs> random_slot;

/// A 64-bit stream number from a name: the same name gives the same stream everywhere (FNV-1a).
uint64_t stream_of(std::string_view name);

namespace ops {

/// Uniform in [low, high), rounded to the nearest number of the dtype that lies there. Requires:
/// one does. Throws ConfigError unless low < high and both are finite.
Tensor uniform(Shape shape, double low, double high, uint64_t seed, uint64_t stream,
               DType dtype = DType::f32);
/// Normal, by the Box-Muller transform.
Tensor normal(Shape shape, double mean, double deviation, uint64_t seed, uint64_t stream,
              DType dtype = DType::f32);

}  // namespace ops
}  // namespace graft
