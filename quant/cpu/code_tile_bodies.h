// The bodies of the kernels of code_tiles.h, in terms of the Simd of one instruction set. Included
// once by each code_tiles_*.cpp, after its simd_*.h.
#pragma once

#include "graft/quant/cpu/code_tiles.h"

namespace graft::quant {
namespace {

using cpu_kernels::Simd;

constexpr int panel_width = 32;
constexpr int panel_vectors = panel_width / Simd::lanes;
constexpr int codes_per_word = 8;
constexpr int max_few_rows = 4;

/// The scales of columns k to k + 7.
inline const float* scales_at(const CodeTile& tile, int64_t k) {
  return tile.scales + k / tile.group * panel_width;
}

void decode_floats(const CodeTile& tile, float* out) {
  const auto table = Simd::table(tile.map);
  const uint32_t* words = tile.codes + tile.k / codes_per_word * panel_width;
  for (int64_t k = tile.k; k < tile.k + tile.depth; k += codes_per_word) {
    const float* scales = scales_at(tile, k);
#pragma GCC unroll 8
    for (int v = 0; v < panel_vectors; ++v) {
      const Simd::Float scale = Simd::load(scales + v * Simd::lanes);
#pragma GCC unroll 8
      for (int j = 0; j < codes_per_word; ++j)
        Simd::store(out + j * panel_width + v * Simd::lanes,
                    Simd::multiply(Simd::look_up(table, words + v * Simd::lanes, 4 * j), scale));
    }
    words += panel_width;
    out += codes_per_word * panel_width;
  }
}

/// As many vectors of columns side by side as leave registers to few rows: the more, the better
/// what one row waits for is hidden.
template <int rows>
constexpr int few_vectors = panel_vectors == 2 && rows <= 2 ? 2 : 1;

/// few_vectors of columns of a panel, from the vector `first` on, times a few rows of x. Scales are
/// applied to the sums of a group rather than to each number.
template <int rows>
void few_rows_of_vectors(const CodeTile& tile, int first, const float* x, float* c, int64_t ldc) {
  constexpr int vectors = few_vectors<rows>;
  const auto table = Simd::table(tile.map);
  const int64_t column = first * Simd::lanes;
  const uint32_t* words = tile.codes + tile.k / codes_per_word * panel_width + column;
  Simd::Float sums[rows][vectors];
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      sums[i][v] = Simd::zero();
  }
  const int64_t end = tile.k + tile.depth;
  for (int64_t k = tile.k; k < end;) {
    const float* scales = scales_at(tile, k) + column;
    const int64_t group_end = (k / tile.group + 1) * tile.group;
    // Two chains of additions for each row: with one row the latency would show.
    Simd::Float even[rows][vectors], odd[rows][vectors];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        even[i][v] = odd[i][v] = Simd::zero();
    }
    for (; k < end && k < group_end; k += codes_per_word, words += panel_width) {
      __builtin_prefetch(words + 16 * panel_width);
      if constexpr (vectors == 2)
        __builtin_prefetch(words + 16 * panel_width + Simd::lanes);
#pragma GCC unroll 8
      for (int j = 0; j < codes_per_word; j += 2, x += 2 * rows) {
#pragma GCC unroll 2
        for (int v = 0; v < vectors; ++v) {
          const Simd::Float low = Simd::look_up(table, words + v * Simd::lanes, 4 * j);
          const Simd::Float high = Simd::look_up(table, words + v * Simd::lanes, 4 * j + 4);
#pragma GCC unroll 4
          for (int i = 0; i < rows; ++i) {
            even[i][v] = Simd::multiply_add(low, Simd::broadcast(x + i), even[i][v]);
            odd[i][v] = Simd::multiply_add(high, Simd::broadcast(x + rows + i), odd[i][v]);
          }
        }
      }
    }
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const Simd::Float scale = Simd::load(scales + v * Simd::lanes);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i)
        sums[i][v] = Simd::multiply_add(Simd::add(even[i][v], odd[i][v]), scale, sums[i][v]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v)
      Simd::store(c + i * ldc + column + v * Simd::lanes, sums[i][v]);
  }
}

template <int rows = 1>
void few_rows(const CodeTile& tile, int count, const float* x, float* c, int64_t ldc) {
  if constexpr (rows <= max_few_rows) {
    if (count != rows)
      return few_rows<rows + 1>(tile, count, x, c, ldc);
    for (int v = 0; v < panel_vectors; v += few_vectors<rows>)
      few_rows_of_vectors<rows>(tile, v, x, c, ldc);
  }
}

/// See CodeTileKernels::count_below.
void count_below(const float* x, int64_t n, const float* boundaries, int count, uint8_t* above) {
  constexpr int together = 32;
  for (int64_t first = 0; first < n; first += together) {
    int32_t counts[together] = {};
    for (int b = 0; b < count; ++b) {
      const float boundary = boundaries[b];
      for (int i = 0; i < together; ++i)
        counts[i] += x[first + i] > boundary ? 1 : 0;
    }
    for (int i = 0; i < together; ++i)
      above[first + i] = static_cast<uint8_t>(counts[i]);
  }
}

}  // namespace
}  // namespace graft::quant
