// First values of weights that no file gives. Each tensor is drawn from a stream of its own, named
// by its path, so that a value depends on the seed and the path only.
#pragma once

#include <cstdint>
#include <string_view>

#include "graft/nn/module.h"

namespace graft::nn {

/// Uniform in ±1/sqrt(fan_in), what torch's Linear starts from (kaiming_uniform with a = sqrt(5)).
/// shape (out, in); fan_in is the last size.
Tensor kaiming_uniform(Shape shape, uint64_t seed, std::string_view path, DType dtype = DType::f32);

/// Normal with mean 0.
Tensor normal(Shape shape, double deviation, uint64_t seed, std::string_view path,
              DType dtype = DType::f32);

/// Starts a whole model: matrices normal with `deviation`, biases 0, norm weights 1.
void initialize(Module& root, double deviation, uint64_t seed, DType dtype = DType::f32);

}  // namespace graft::nn
