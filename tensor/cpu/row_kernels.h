// What works number by number or row by row, in vectors: one table of functions per instruction
// set.
//
// Plain pointers only, as in panel_tiles.h, and for the same reason. Numbers are f32 or bf16 (as
// their bits); all is computed in f32 and rounded once. Results do not depend on how a caller cuts
// rows into blocks, but differ between instruction sets in the order of sums.
#pragma once

#include <cstdint>

#include "graft/tensor/cpu/isa.h"

namespace graft::cpu_kernels {

/// An activation f, alone and gating: see functors.h.
template <class T>
struct ActivationRows {
  /// y = f(x)
  void (*forward)(const T* x, T* y, int64_t n);
  /// dx = dy f'(x)
  void (*backward)(const T* dy, const T* x, T* dx, int64_t n);
  /// y = f(gate) · up
  void (*gated)(const T* gate, const T* up, T* y, int64_t n);
  void (*gated_backward)(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n);
};

template <class T>
struct Rows {
  ActivationRows<T> silu, gelu_tanh;
  /// y = a + alpha · b
  void (*add)(const T* a, const T* b, float alpha, T* y, int64_t n);
  /// y = x · rstd · (offset + weight); returns rstd = 1 / sqrt(mean(x²) + eps).
  float (*rms_norm)(const T* x, const T* weight, float offset, float eps, T* y, int64_t n);
  /// The gradient of one row, as in norm.cpp; dweight, where it is wanted, is added to.
  void (*rms_norm_backward)(const T* dy, const T* x, const T* weight, float offset, float rstd,
                            T* dx, float* dweight, int64_t n);
  /// y = x turned by the angles, of which x and y hold the first coordinates and n further on the
  /// second ones: (a cos - b sin, b cos + a sin).
  void (*rotate)(const T* x, const float* cos, const float* sin, float direction, T* y, int64_t n);
  /// The largest of n > 0 numbers, NaN where one of them is.
  float (*largest)(const T* x, int64_t n);
  /// Σ exp(x - shift)
  double (*sum_of_exponentials)(const T* x, float shift, int64_t n);
  /// x = exp((x - largest) - log_total)
  void (*softmax)(T* x, float largest, float log_total, int64_t n);
};

/// Rows that lie in panels, as attention's scores do: `panels` times 32 numbers, `stride` numbers
/// apart.
struct PanelRows {
  /// The largest number, NaN where one of them is.
  float (*largest)(const float* x, int64_t panels, int64_t stride);
  /// x = exp(x - shift); returns their sum.
  float (*exponentials)(float* x, int64_t panels, int64_t stride, float shift);
  /// x = factor · x
  void (*scale)(float* x, int64_t panels, int64_t stride, float factor);
  /// p = exp(p - lse), ds = p (ds - delta)
  void (*score_gradients)(float* p, float* ds, int64_t panels, int64_t stride, float lse,
                          float delta);
};

struct RowKernels {
  Rows<float> f32;
  Rows<uint16_t> bf16;
  PanelRows panels;

  template <class T>
  const Rows<T>& of() const {
    if constexpr (sizeof(T) == sizeof(float))
      return f32;
    else
      return bf16;
  }
};

extern const RowKernels avx2_rows, avx512_rows;

}  // namespace graft::cpu_kernels
