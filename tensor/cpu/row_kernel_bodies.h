// The bodies of the row kernels, in terms of the Lanes of one instruction set. Included once by
// each row_kernels_*.cpp, after its simd_*.h and lanes.h.
#pragma once

#include <cstring>
#include <type_traits>

#include "graft/tensor/cpu/row_kernels.h"
#include "graft/tensor/functors.h"

namespace graft::cpu_kernels {
namespace {

/// How many lanes of a vector are meant: all of them, or the first few at the end of a row. Loads
/// give zeros in the others.
struct All {};
struct First {
  int used;
};

Lanes load(const float* x, All) {
  return Lanes(Lanes::Vector(Simd::load(x)));
}
Lanes load(const float* x, First part) {
  return Lanes(Lanes::Vector(Simd::load_first(x, part.used)));
}
void store(float* x, Lanes value, All) {
  Simd::store(x, value.vector());
}
void store(float* x, Lanes value, First part) {
  Simd::store_first(x, value.vector(), part.used);
}

// bf16, as the upper halves of floats.
Lanes load(const uint16_t* x, All) {
  using Halves = uint16_t __attribute__((vector_size(2 * Lanes::count)));
  using Words = uint32_t __attribute__((vector_size(4 * Lanes::count)));
  Halves halves;
  std::memcpy(&halves, x, sizeof halves);
  return Lanes(reinterpret_cast<Lanes::Vector>(__builtin_convertvector(halves, Words) << 16));
}
Lanes load(const uint16_t* x, First part) {
  uint16_t padded[Lanes::count] = {};
  for (int i = 0; i < part.used; ++i)
    padded[i] = x[i];
  return load(padded, All());
}
void store(uint16_t* x, Lanes value, All) {
  Simd::store_bf16(x, value.vector());
}
void store(uint16_t* x, Lanes value, First part) {
  uint16_t padded[Lanes::count];
  Simd::store_bf16(padded, value.vector());
  for (int i = 0; i < part.used; ++i)
    x[i] = padded[i];
}

/// Calls body(i, part) for the vectors that begin at number i and cover [0, n).
template <class Body>
[[gnu::always_inline]] inline void for_lanes(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + Lanes::count <= n; i += Lanes::count)
    body(i, All());
  if (i < n)
    body(i, First{static_cast<int>(n - i)});
}

template <class F, class T>
void activation(const T* x, T* y, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, F::forward(load(x + i, part)), part); });
}

template <class F, class T>
void activation_backward(const T* dy, const T* x, T* dx, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(dx + i, F::backward(load(dy + i, part), load(x + i, part)), part);
  });
}

template <class F, class T>
void gated(const T* gate, const T* up, T* y, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(y + i, F::forward(load(gate + i, part)) * load(up + i, part), part);
  });
}

template <class F, class T>
void gated_backward(const T* dy, const T* gate, const T* up, T* dgate, T* dup, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    const Lanes d = load(dy + i, part);
    const Lanes g = load(gate + i, part);
    const Lanes u = load(up + i, part);
    store(dgate + i, F::backward(d * u, g), part);
    store(dup + i, d * F::forward(g), part);
  });
}

template <class F, class T>
constexpr ActivationRows<T> activation_rows{activation<F, T>, activation_backward<F, T>,
                                            gated<F, T>, gated_backward<F, T>};

template <class T>
void add(const T* a, const T* b, float alpha, T* y, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(y + i, load(a + i, part) + Lanes(alpha) * load(b + i, part), part);
  });
}

template <class T>
float rms_norm(const T* x, const T* weight, float offset, float eps, T* y, int64_t n) {
  Lanes squares(0.0F);
  for_lanes(n, [&](int64_t i, auto part) {
    const Lanes value = load(x + i, part);
    squares += value * value;
  });
  const float rstd = 1 / __builtin_sqrtf(squares.sum() / static_cast<float>(n) + eps);
  for_lanes(n, [=](int64_t i, auto part) {
    const Lanes scale = Lanes(offset) + load(weight + i, part);
    store(y + i, load(x + i, part) * Lanes(rstd) * scale, part);
  });
  return rstd;
}

template <class T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, float offset, float rstd, T* dx,
                       float* dweight, int64_t n) {
  Lanes dot(0.0F);
  for_lanes(n, [&](int64_t i, auto part) {
    dot += load(dy + i, part) * (Lanes(offset) + load(weight + i, part)) * load(x + i, part);
  });
  const float shift = dot.sum() * rstd * rstd * rstd / static_cast<float>(n);
  for_lanes(n, [=](int64_t i, auto part) {
    const Lanes d = load(dy + i, part);
    const Lanes value = load(x + i, part);
    const Lanes scale = Lanes(offset) + load(weight + i, part);
    store(dx + i, d * scale * Lanes(rstd) - value * Lanes(shift), part);
    if (dweight != nullptr)
      store(dweight + i, load(dweight + i, part) + d * value * Lanes(rstd), part);
  });
}

template <class T>
void rotate(const T* x, const float* cos, const float* sin, float direction, T* y, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    const Lanes a = load(x + i, part);
    const Lanes b = load(x + n + i, part);
    const Lanes c = load(cos + i, part);
    const Lanes s = Lanes(direction) * load(sin + i, part);
    store(y + i, a * c - b * s, part);
    store(y + n + i, b * c + a * s, part);
  });
}

template <class T>
float largest(const T* x, int64_t n) {
  const Lanes first = load(x, First{1});
  Lanes result(first.sum());
  for_lanes(n, [&](int64_t i, auto part) {
    if constexpr (std::is_same_v<decltype(part), All>) {
      result = larger_or_nan(result, load(x + i, part));
    } else {
      for (int j = 0; j < part.used; ++j)
        result = larger_or_nan(result, Lanes(load(x + i + j, First{1}).sum()));
    }
  });
  return result.largest();
}

template <class T>
double sum_of_exponentials(const T* x, float shift, int64_t n) {
  // Blocks in f64: f32 sums over a vocabulary of 150,000 lose four bits.
  constexpr int64_t block = 64 * Lanes::count;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += block) {
    Lanes sum(0.0F);
    for_lanes(n - begin < block ? n - begin : block, [&](int64_t i, auto part) {
      const Lanes e = exp(load(x + begin + i, part) - Lanes(shift));
      if constexpr (std::is_same_v<decltype(part), All>)
        sum += e;
      else
        sum += e.first(part.used);
    });
    total += static_cast<double>(sum.sum());
  }
  return total;
}

template <class T>
void softmax(T* x, float largest, float log_total, int64_t n) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(x + i, exp((load(x + i, part) - Lanes(largest)) - Lanes(log_total)), part);
  });
}

constexpr int64_t panel_numbers = 32;
static_assert(panel_numbers % Lanes::count == 0);

/// Calls body(i) for each vector of a row in panels, i its place.
template <class Body>
[[gnu::always_inline]] inline void for_panel_lanes(int64_t panels, int64_t stride,
                                                   const Body& body) {
  for (int64_t panel = 0; panel < panels; ++panel) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < panel_numbers; i += Lanes::count)
      body(panel * stride + i);
  }
}

float panel_largest(const float* x, int64_t panels, int64_t stride) {
  Lanes result = load(x, All());
  for_panel_lanes(panels, stride,
                  [&](int64_t i) { result = larger_or_nan(result, load(x + i, All())); });
  return result.largest();
}

float panel_exponentials(float* x, int64_t panels, int64_t stride, float shift) {
  Lanes sum(0.0F);
  for_panel_lanes(panels, stride, [&](int64_t i) {
    const Lanes e = exp(load(x + i, All()) - Lanes(shift));
    store(x + i, e, All());
    sum += e;
  });
  return sum.sum();
}

void panel_scale(float* x, int64_t panels, int64_t stride, float factor) {
  for_panel_lanes(panels, stride,
                  [=](int64_t i) { store(x + i, load(x + i, All()) * Lanes(factor), All()); });
}

void panel_score_gradients(float* p, float* ds, int64_t panels, int64_t stride, float lse,
                           float delta) {
  for_panel_lanes(panels, stride, [=](int64_t i) {
    const Lanes probability = exp(load(p + i, All()) - Lanes(lse));
    store(p + i, probability, All());
    store(ds + i, probability * (load(ds + i, All()) - Lanes(delta)), All());
  });
}

template <class T>
constexpr Rows<T> rows{.silu = activation_rows<Silu, T>,
                       .gelu_tanh = activation_rows<GeluTanh, T>,
                       .add = add<T>,
                       .rms_norm = rms_norm<T>,
                       .rms_norm_backward = rms_norm_backward<T>,
                       .rotate = rotate<T>,
                       .largest = largest<T>,
                       .sum_of_exponentials = sum_of_exponentials<T>,
                       .softmax = softmax<T>};

constexpr RowKernels all_rows{.f32 = rows<float>,
                              .bf16 = rows<uint16_t>,
                              .panels = {.largest = panel_largest,
                                         .exponentials = panel_exponentials,
                                         .scale = panel_scale,
                                         .score_gradients = panel_score_gradients}};

}  // namespace
}  // namespace graft::cpu_kernels
