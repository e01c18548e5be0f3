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

/// One vector of columns of a panel times a few rows of x. Scales are applied to the sums of a
/// group rather than to each number.
template <int rows>
void few_rows_of_vector(const CodeTile& tile, int v, const float* x, float* c, int64_t ldc) {
  const auto table = Simd::table(tile.map);
  const uint32_t* words = tile.codes + tile.k / codes_per_word * panel_width + v * Simd::lanes;
  Simd::Float sums[rows];
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i)
    sums[i] = Simd::zero();
  const int64_t end = tile.k + tile.depth;
  for (int64_t k = tile.k; k < end;) {
    const Simd::Float scale = Simd::load(scales_at(tile, k) + v * Simd::lanes);
    const int64_t group_end = (k / tile.group + 1) * tile.group;
    // Two chains of additions for each row: with one row the latency would show.
    Simd::Float even[rows], odd[rows];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i)
      even[i] = odd[i] = Simd::zero();
    for (; k < end && k < group_end; k += codes_per_word, words += panel_width) {
      __builtin_prefetch(words + 16 * panel_width);
#pragma GCC unroll 8
      for (int j = 0; j < codes_per_word; j += 2, x += 2 * rows) {
        const Simd::Float first = Simd::look_up(table, words, 4 * j);
        const Simd::Float second = Simd::look_up(table, words, 4 * j + 4);
#pragma GCC unroll 4
        for (int i = 0; i < rows; ++i) {
          even[i] = Simd::multiply_add(first, Simd::broadcast(x + i), even[i]);
          odd[i] = Simd::multiply_add(second, Simd::broadcast(x + rows + i), odd[i]);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i)
      sums[i] = Simd::multiply_add(Simd::add(even[i], odd[i]), scale, sums[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i)
    Simd::store(c + i * ldc + v * Simd::lanes, sums[i]);
}

template <int rows = 1>
void few_rows(const CodeTile& tile, int count, const float* x, float* c, int64_t ldc) {
  if constexpr (rows <= max_few_rows) {
    if (count != rows)
      return few_rows<rows + 1>(tile, count, x, c, ldc);
    for (int v = 0; v < panel_vectors; ++v)
      few_rows_of_vector<rows>(tile, v, x, c, ldc);
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
