// One step of AdamW on a run of weights of any dtype, for the kernels that differ in how they hold
// the moments.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

#include "graft/tensor/cpu/adamw_rows.h"
#include "graft/tensor/optimizer.h"

namespace graft::cpu_kernels {

/// Hyperparameters are double and rounded to the type computed with where they meet a tensor.
template <class C>
AdamWFactors<C> factors_of(const AdamWScalars& scalars) {
  const auto steps = static_cast<double>(scalars.step);
  const C weight1 = static_cast<C>(1 - scalars.beta1);
  return {.scale = static_cast<C>(scalars.grad_scale),
          .kept = static_cast<C>(1 - scalars.lr * scalars.weight_decay),
          .weight1 = weight1,
          .beta2 = static_cast<C>(scalars.beta2),
          .weight2 = static_cast<C>(1 - scalars.beta2),
          .correction = static_cast<C>(std::sqrt(1 - std::pow(scalars.beta2, steps))),
          .eps = static_cast<C>(scalars.eps),
          .step_size = static_cast<C>(-(scalars.lr / (1 - std::pow(scalars.beta1, steps)))),
          .near_start = weight1 < C(0.5)};
}

/// Updates `count` weights of type T and their moments, which have the type C computed with.
template <class T, class C>
void adamw_step(AdamWRows<C> rows, const AdamWFactors<C>& factors, int64_t count, T* w, const T* g,
                C* m, C* v) {
  if constexpr (std::is_same_v<T, C>) {
    rows(factors, count, w, g, m, v);
  } else {
    constexpr int64_t most = 512;
    std::array<C, most> weights;
    std::array<C, most> grads;
    for (int64_t begin = 0; begin < count; begin += most) {
      const int64_t size = std::min(most, count - begin);
      for (int64_t i = 0; i < size; ++i) {
        weights[i] = static_cast<C>(w[begin + i]);
        grads[i] = static_cast<C>(g[begin + i]);
      }
      rows(factors, size, weights.data(), grads.data(), m + begin, v + begin);
      for (int64_t i = 0; i < size; ++i)
        w[begin + i] = T(weights[i]);
    }
  }
}

/// The function of a set of kernels for the type computed with.
template <class C>
AdamWRows<C> rows_of(const AdamWKernels& kernels) {
  if constexpr (std::is_same_v<C, double>)
    return kernels.f64;
  else
    return kernels.f32;
}

}  // namespace graft::cpu_kernels
