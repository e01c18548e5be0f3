// The bodies of the micro-kernels, in terms of the Simd of one instruction set. Included once by
// each panel_tiles_*.cpp, after its simd_*.h.
#pragma once

#include "graft/tensor/cpu/panel_tiles.h"

namespace graft::cpu_kernels {
namespace {

/// Vectors of a tile side by side: what hides the latency of its additions.
constexpr int tile_vectors = 2;
constexpr int tile_width = tile_vectors * Simd::lanes;
static_assert(panel_width % tile_width == 0 && Simd::tile_rows <= max_tile_rows);

/// The products of floats.
struct Floats {
  using Number = float;
  using Vector = Simd::Float;
  static constexpr int per_dword = 1;
  static Vector load(const float* x) { return Simd::load(x); }
  static Vector broadcast(const float* x) { return Simd::broadcast(x); }
  static Simd::Float add_product(Vector a, Vector b, Simd::Float c) {
    return Simd::multiply_add(a, b, c);
  }
};

template <int rows>
[[gnu::always_inline]] inline void store_tile(const Simd::Float (&sums)[rows][tile_vectors],
                                              float* c, int64_t ldc, bool accumulate) {
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v) {
      float* at = c + i * ldc + v * Simd::lanes;
      Simd::store(at, accumulate ? Simd::add(sums[i][v], Simd::load(at)) : sums[i][v]);
    }
  }
}

/// Rows of a streamed operand between what is multiplied and what is fetched: into the first cache,
/// and, as its first reader finds it far away, into the second.
constexpr int64_t near_rows = 8;
constexpr int64_t far_rows = 48;

template <class Number, class Stride>
[[gnu::always_inline]] inline void fetch_ahead(const Number* row, Stride stride) {
  // Of the two cache lines that 32 words may begin and end in.
  __builtin_prefetch(row + near_rows * stride);
  __builtin_prefetch(row + near_rows * stride + panel_width / 2);
  __builtin_prefetch(row + far_rows * stride, 0, 2);
  __builtin_prefetch(row + far_rows * stride + panel_width / 2, 0, 2);
}

/// A stride that is known when a tile is compiled.
template <int64_t n>
struct Fixed {
  [[gnu::always_inline]] constexpr operator int64_t() const { return n; }
};

template <class Element, int rows, class XStride, class WStride>
[[gnu::noinline]] void forward_tile(int64_t depth, const typename Element::Number* x, XStride ldx,
                                    const typename Element::Number* w, WStride ldw, float* c,
                                    int64_t ldc, bool accumulate) {
  Simd::Float sums[rows][tile_vectors];
#pragma GCC unroll 16
  for (int i = 0; i < rows; ++i) {
    __builtin_prefetch(c + i * ldc, 1);
    __builtin_prefetch(c + i * ldc + tile_width - 1, 1);
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v)
      sums[i][v] = Simd::zero();
  }
  for (int64_t k = 0; k < depth; ++k, x += ldx, w += ldw) {
    typename Element::Vector weights[tile_vectors];
    fetch_ahead(w, ldw);
    __builtin_prefetch(x + 2 * near_rows * ldx);
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v)
      weights[v] = Element::load(w + v * Simd::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      const typename Element::Vector number = Element::broadcast(x + i);
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; ++v)
        sums[i][v] = Element::add_product(weights[v], number, sums[i][v]);
    }
  }
  store_tile<rows>(sums, c, ldc, accumulate);
}

/// All column tiles of a panel, with the number of rows as a constant.
template <class Element, int rows = 1>
void forward(int count, int64_t depth, const typename Element::Number* x,
             const typename Element::Number* w, float* c, int64_t ldc, bool accumulate) {
  if constexpr (rows <= Simd::tile_rows) {
    if (count != rows)
      return forward<Element, rows + 1>(count, depth, x, w, c, ldc, accumulate);
    for (int column = 0; column < panel_width; column += tile_width)
      forward_tile<Element, rows>(depth, x, Fixed<rows>(), w + column, Fixed<panel_width>(),
                                  c + column, ldc, accumulate);
  }
}

/// See TileKernels::outer.
template <int rows = 1>
void outer(int count, int64_t depth, const float* x, int64_t ldx, const float* w, int64_t ldw,
           float* c, int64_t ldc, bool accumulate) {
  if constexpr (rows <= Simd::tile_rows) {
    if (count != rows)
      return outer<rows + 1>(count, depth, x, ldx, w, ldw, c, ldc, accumulate);
    for (int column = 0; column < panel_width; column += tile_width)
      forward_tile<Floats, rows>(depth, x, ldx, w + column, ldw, c + column, ldc, accumulate);
  }
}

/// As forward_tile with pairs of bf16 along k, widened on the way: the same sums in the same order.
template <int rows>
[[gnu::noinline]] void few_pairs_tile(int64_t depth, const float* x, const uint32_t* w, float* c,
                                      int64_t ldc, bool accumulate) {
  Simd::Float sums[rows][tile_vectors];
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v)
      sums[i][v] = Simd::zero();
  }
  for (int64_t k = 0; k < depth; ++k, x += 2 * rows, w += panel_width) {
    fetch_ahead(w, Fixed<panel_width>());
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v) {
      const Simd::Float first = Simd::low_halves(w + v * Simd::lanes);
      const Simd::Float second = Simd::high_halves(w + v * Simd::lanes);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) {
        sums[i][v] = Simd::multiply_add(first, Simd::broadcast(x + i), sums[i][v]);
        sums[i][v] = Simd::multiply_add(second, Simd::broadcast(x + rows + i), sums[i][v]);
      }
    }
  }
  store_tile<rows>(sums, c, ldc, accumulate);
}

/// See TileKernels::few_pairs.
template <int rows = 1>
void few_pairs(int count, int64_t depth, const float* x, const uint32_t* w, float* c, int64_t ldc,
               bool accumulate) {
  if constexpr (rows <= few_rows_tile) {
    if (count != rows)
      return few_pairs<rows + 1>(count, depth, x, w, c, ldc, accumulate);
    for (int column = 0; column < panel_width; column += tile_width)
      few_pairs_tile<rows>(depth, x, w + column, c + column, ldc, accumulate);
  }
}

/// Steps along n in one panel: 32 floats, or 16 pairs of bf16.
template <class Element>
constexpr int64_t panel_steps = panel_width / Element::per_dword;

template <class Element, int columns>
[[gnu::noinline]] void backward_tile(int64_t panels, const typename Element::Number* const* w,
                                     const typename Element::Number* dy, float* c,
                                     bool accumulate) {
  Simd::Float sums[columns][tile_vectors];
#pragma GCC unroll 16
  for (int i = 0; i < columns; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v)
      sums[i][v] = Simd::zero();
  }
  for (int64_t panel = 0; panel < panels; ++panel) {
    const typename Element::Number* row = w[panel];
    const typename Element::Number* next = w[panel + 1 < panels ? panel + 1 : panel];
    for (int64_t n = 0; n < panel_steps<Element>; ++n, dy += panel_width) {
      typename Element::Vector gradients[tile_vectors];
      __builtin_prefetch(next + 16 * n);  // a cache line of the rows that follow
      fetch_ahead(dy, Fixed<panel_width>());
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; ++v)
        gradients[v] = Element::load(dy + v * Simd::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < columns; ++i) {
        const typename Element::Vector number =
            Element::broadcast(row + n + i * panel_steps<Element>);
#pragma GCC unroll 2
        for (int v = 0; v < tile_vectors; ++v)
          sums[i][v] = Element::add_product(gradients[v], number, sums[i][v]);
      }
    }
  }
  store_tile<columns>(sums, c, panel_width, accumulate);
}

template <class Element, int columns = 1>
void backward(int count, int64_t panels, const typename Element::Number* const* w,
              const typename Element::Number* dy, float* c, bool accumulate) {
  if constexpr (columns <= Simd::tile_rows) {
    if (count != columns)
      return backward<Element, columns + 1>(count, panels, w, dy, c, accumulate);
    for (int column = 0; column < panel_width; column += tile_width)
      backward_tile<Element, columns>(panels, w, dy + column, c + column, accumulate);
  }
}

/// One sum of a tile of dot products for each lane.
constexpr int dot_rows = Simd::lanes / dot_columns;

/// See TileKernels::dots. Rows and columns that a tile has too many are computed twice.
void dots(int rows, int columns, int64_t depth, const float* x, int64_t ldx, const float* w,
          int64_t ldw, float* c, int64_t ldc) {
  const float* x_rows[dot_rows];
  const float* w_rows[dot_columns];
  for (int i = 0; i < dot_rows; ++i)
    x_rows[i] = x + (i < rows ? i : rows - 1) * ldx;
  for (int j = 0; j < dot_columns; ++j)
    w_rows[j] = w + (j < columns ? j : columns - 1) * ldw;
  Simd::Float sums[Simd::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < Simd::lanes; ++i)
    sums[i] = Simd::zero();
  const auto add = [&](auto load) __attribute__((always_inline)) {
    Simd::Float numbers[dot_columns];
#pragma GCC unroll 4
    for (int j = 0; j < dot_columns; ++j)
      numbers[j] = load(w_rows[j]);
#pragma GCC unroll 4
    for (int i = 0; i < dot_rows; ++i) {
      const Simd::Float number = load(x_rows[i]);
#pragma GCC unroll 4
      for (int j = 0; j < dot_columns; ++j)
        sums[i * dot_columns + j] =
            Simd::multiply_add(number, numbers[j], sums[i * dot_columns + j]);
    }
  };
  int64_t k = 0;
  for (; k + Simd::lanes <= depth; k += Simd::lanes)
    add([k](const float* row) { return Simd::load(row + k); });
  if (k < depth) {
    const int count = static_cast<int>(depth - k);
    add([k, count](const float* row) { return Simd::load_first(row + k, count); });
  }
  Simd::transpose(sums);
#pragma GCC unroll 16
  for (int i = 1; i < Simd::lanes; ++i)
    sums[0] = Simd::add(sums[0], sums[i]);
  float totals[Simd::lanes];
  Simd::store(totals, sums[0]);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j)
      c[i * ldc + j] = totals[i * dot_columns + j];
  }
}

/// See TileKernels::transpose.
void transpose_words(const float* x, int64_t stride, int rows, int64_t columns, int width,
                     float* out) {
  constexpr int lanes = Simd::lanes;
  for (int64_t k = 0; k < columns; k += lanes) {
    const int count = columns - k < lanes ? static_cast<int>(columns - k) : lanes;
    for (int first = 0; first < width; first += lanes) {
      const int used = width - first < lanes ? width - first : lanes;
      Simd::Float block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) {
        __builtin_prefetch(x + (first + i + width) * stride + k);  // of the next tile
        block[i] =
            first + i < rows ? Simd::load_first(x + (first + i) * stride + k, count) : Simd::zero();
      }
      Simd::transpose(block);
      float* to = out + k * width + first;
      for (int i = 0; i < count; ++i, to += width) {
        if (used == lanes)
          Simd::store(to, block[i]);
        else
          Simd::store_first(to, block[i], used);
      }
    }
  }
}

/// See TileKernels::round.
void round_rows(const float* x, int64_t rows, uint16_t* out, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i, x += panel_width, out += stride) {
#pragma GCC unroll 8
    for (int j = 0; j < panel_width; j += Simd::lanes)
      Simd::store_bf16(out + j, Simd::load(x + j));
  }
}

/// See TileKernels::widen.
void widen_pairs(const uint32_t* pairs, int64_t depth, float* out) {
  for (int64_t k = 0; k < depth; ++k, pairs += panel_width, out += 2 * panel_width) {
#pragma GCC unroll 8
    for (int i = 0; i < panel_width; i += Simd::lanes) {
      Simd::store(out + i, Simd::low_halves(pairs + i));
      Simd::store(out + panel_width + i, Simd::high_halves(pairs + i));
    }
  }
}

}  // namespace
}  // namespace graft::cpu_kernels
