// Pointwise formulas, each written once and used by CPU kernels, CUDA kernels and backward passes.
#pragma once

#include <cmath>

#include "graft/tensor/philox.h"

namespace graft {

/// x · σ(x), also called swish.
struct Silu {
  template <class T>
  GRAFT_HD static T forward(T x) {
    using std::exp;
    return x / (T(1) + exp(-x));
  }
  template <class T>
  GRAFT_HD static T backward(T dy, T x) {
    using std::exp;
    const T sigmoid = T(1) / (T(1) + exp(-x));
    return dy * sigmoid * (T(1) + x * (T(1) - sigmoid));
  }
};

/// x · Φ(x), Φ the distribution function of the normal distribution (Hendrycks and Gimpel 2016,
/// arXiv:1606.08415): "gelu" in configurations.
struct Gelu {
  template <class T>
  GRAFT_HD static T forward(T x) {
    return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752440)));
  }
  template <class T>
  GRAFT_HD static T backward(T dy, T x) {
    const T cumulated = T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440)));
    const T density = T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
    return dy * (cumulated + x * density);
  }
};

/// Gelu with Φ(x) taken as (1 + tanh(u)) / 2, u = sqrt(2/π) (x + 0.044715 x³): "gelu_new" and
/// "gelu_pytorch_tanh" in configurations. Computed as σ(2u), the same number: exp is several times
/// as fast as tanh.
struct GeluTanh {
  template <class T>
  GRAFT_HD static T forward(T x) {
    using std::exp;
    return x / (T(1) + exp(-doubled(x)));
  }
  template <class T>
  GRAFT_HD static T backward(T dy, T x) {
    using std::exp;
    const T sigmoid = T(1) / (T(1) + exp(-doubled(x)));
    const T slope = T(2 * 0.79788456080286535588) * (T(1) + T(3 * 0.044715) * x * x);
    return dy * (sigmoid + x * sigmoid * (T(1) - sigmoid) * slope);
  }

 private:
  template <class T>
  GRAFT_HD static T doubled(T x) {
    return T(2 * 0.79788456080286535588) * (x + T(0.044715) * x * x * x);
  }
};

}  // namespace graft
