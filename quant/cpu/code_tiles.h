// Decoding tiles of 4-bit weights in panels, products with few rows that decode in registers, and
// rounding to codes: one object per instruction set, as with panel_tiles.h.
//
// A panel is 32 rows of a weight (N,K). A word holds eight codes, columns 8i to 8i + 7 of one row,
// the first in its lowest bits: codes (K / 8, 32). The scale of a row is the same for `group`
// columns: scales (K / group, 32), group a multiple of eight.
#pragma once

#include <cstdint>

#include "graft/tensor/cpu/isa.h"

namespace graft::quant {

/// Columns [k, k + depth) of one panel; k and depth are multiples of eight.
struct CodeTile {
  const uint32_t* codes;  ///< of the panel, from its first column on
  const float* scales;    ///< of the panel, from its first column on
  const float* map;       ///< the value of each code
  int64_t group;
  int64_t k, depth;
};

struct CodeTileKernels {
  /// (depth, 32) floats: value · scale.
  void (*floats)(const CodeTile& tile, float* out);
  /// The same rounded to bf16, pairs along k: (depth / 2, 32, 2). nullptr where the instruction set
  /// has no products of pairs.
  void (*pairs_along_k)(const CodeTile& tile, uint32_t* out);
  /// The same, pairs along n: (depth, 16, 2).
  void (*pairs_along_n)(const CodeTile& tile, uint32_t* out);
  /// c (rows, 32) with row stride ldc = x (depth, rows) · tile, for up to four rows.
  void (*few_rows)(const CodeTile& tile, int rows, const float* x, float* c, int64_t ldc);
  /// above[i] = how many of `count` boundaries x[i] is greater than, for n numbers, a multiple of
  /// 32.
  void (*count_below)(const float* x, int64_t n, const float* boundaries, int count,
                      uint8_t* above);
};

/// The kernels of a set. Requires: this processor has it.
const CodeTileKernels& code_tile_kernels(cpu_kernels::Isa isa);

extern const CodeTileKernels portable_codes, avx2_codes, avx512_codes, avx512_bf16_codes;

}  // namespace graft::quant
