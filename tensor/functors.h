// Pointwise formulas, each written once and used by CPU kernels, CUDA kernels and backward passes.
#pragma once

#include <cmath>

#include "graft/tensor/philox.h"

namespace graft {

/// x · σ(x), also called swish.
struct Silu {
  template <class T>
  GRAFT_HD static T forward(T x) {
    return x / (T(1) + std::exp(-x));
  }
  template <class T>
  GRAFT_HD static T backward(T dy, T x) {
    const T sigmoid = T(1) / (T(1) + std::exp(-x));
    return dy * sigmoid * (T(1) + x * (T(1) - sigmoid));
  }
};

}  // namespace graft
