// The micro-kernels of products with a matrix in panels, and the interface of the objects that hold
// them: one object per instruction set.
//
// A panel is 32 rows of a weight (N,K), stored column after column: (K, 32). Both products read the
// same panels. Forward (y = x wᵀ) the panel is the vector operand and numbers of x are broadcast;
// backward (dx = dy w) the roles are swapped instead of transposing the weight: numbers of the
// panel are broadcast, dy is the vector operand, and what comes out is dx transposed.
//
// Plain pointers only: these objects are built with wider instructions than the rest, and share no
// inline function with it that a linker could pick for everybody.
#pragma once

#include <cstdint>

namespace graft::cpu_kernels {

/// Rows of a weight in one panel, and rows of dy in one block of columns.
inline constexpr int64_t panel_width = 32;

/// Most rows of any instruction set's forward tile.
inline constexpr int max_tile_rows = 14;

/// Most columns of a tile of dot products.
inline constexpr int dot_columns = 4;

/// Rows of x up to which w is better widened or decoded in registers, once for each tile of few
/// rows, than into a buffer.
inline constexpr int64_t few_rows_limit = 8;
inline constexpr int few_rows_tile = 4;

/// Reads of x are (depth, rows): the rows of a tile next to each other for each k.
struct TileKernels {
  const char* name;
  /// Rows of x in a forward tile, and columns of w in a backward tile.
  int rows;
  /// c (rows, 32) with row stride ldc = or += x (depth, rows) · w (depth, 32). rows is at most
  /// `rows` above.
  void (*forward)(int rows, int64_t depth, const float* x, const float* w, float* c, int64_t ldc,
                  bool accumulate);
  /// c (rows, 32) = or += Σ over depth of x[d ldx + row] · w[d ldw + column]: the same product,
  /// where rows of x and w are parts of longer ones.
  void (*outer)(int rows, int64_t depth, const float* x, int64_t ldx, const float* w, int64_t ldw,
                float* c, int64_t ldc, bool accumulate);
  /// As forward, with pairs of bf16 along k: x (depth, rows, 2), w (depth, 32, 2). nullptr where
  /// the instruction set has no such product.
  void (*forward_pairs)(int rows, int64_t depth, const uint32_t* x, const uint32_t* w, float* c,
                        int64_t ldc, bool accumulate);
  /// c (rows, 32) = or += x (2 depth, rows) in f32 · w (depth, 32, 2) in bf16, for at most
  /// few_rows_tile rows: w is read once and widened in registers. The bits are those of widen and
  /// forward.
  void (*few_pairs)(int rows, int64_t depth, const float* x, const uint32_t* w, float* c,
                    int64_t ldc, bool accumulate);
  /// c (columns, 32), row-major, = or += Σ over panels w[panel] (columns, 32) · dy (panel, 32, 32).
  /// columns is at most `rows` above.
  void (*backward)(int columns, int64_t panels, const float* const* w, const float* dy, float* c,
                   bool accumulate);
  /// The same with pairs of bf16 along n: w[panel] (columns, 16, 2), dy (panel, 16, 32, 2).
  void (*backward_pairs)(int columns, int64_t panels, const uint32_t* const* w, const uint32_t* dy,
                         float* c, bool accumulate);
  /// c (rows, columns), row stride ldc, = x (rows, depth) · the transpose of w (columns, depth),
  /// both row-major with strides ldx and ldw. rows is at most `dot_rows`, columns at most
  /// dot_columns.
  void (*dots)(int rows, int columns, int64_t depth, const float* x, int64_t ldx, const float* w,
               int64_t ldw, float* c, int64_t ldc);
  int dot_rows;
  /// out (columns, width) = the transpose of x (rows, columns) with row stride `stride`; zeros from
  /// `rows` to `width`. Numbers of 32 bits of any kind.
  void (*transpose)(const float* x, int64_t stride, int rows, int64_t columns, int width,
                    float* out);
  /// Rows of 32 floats as bf16: out[i stride + j] = x[32 i + j].
  void (*round)(const float* x, int64_t rows, uint16_t* out, int64_t stride);
  /// Pairs along k (depth, 32, 2) as floats (2 depth, 32).
  void (*widen)(const uint32_t* pairs, int64_t depth, float* out);
  /// Pairs along k (depth, 32, 2) as pairs along n (2 depth, 16, 2); where there is backward_pairs.
  void (*turn)(const uint32_t* pairs, int64_t depth, uint32_t* out);
};

extern const TileKernels portable_tiles, avx2_tiles, avx512_tiles, avx512_bf16_tiles;

}  // namespace graft::cpu_kernels
