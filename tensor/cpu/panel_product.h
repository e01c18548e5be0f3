// Products with a frozen matrix held in panels: blocking, packing and threads around the
// micro-kernels of panel_tiles.h.
//
// How the matrix is stored is the business of the functions that hand out its tiles, so dense and
// 4-bit weights share everything else. Tiles that need decoding are decoded into a buffer of a
// thread, once for each block of rows of x: the whole matrix never exists.
#pragma once

#include <cstdint>

#include "graft/tensor/cpu/panel_tiles.h"
#include "graft/tensor/matmul.h"

namespace graft::cpu_kernels {

/// Most columns of x, and of a panel, that are summed at a time: the sums of such blocks are added.
inline constexpr int64_t block_depth = 384;

/// A matrix w (N,K) in panels of 32 rows. Rows beyond N and columns from K to `depth` are zeros.
struct PanelMatrix {
  int64_t n, k;
  int64_t depth;  ///< K rounded up to a multiple of `step`
  int64_t step;   ///< tiles begin at multiples of it: 1, 2 for pairs, 8 for 4-bit codes
  const TileKernels* kernels;
  const void* data;  ///< of the functions below, which know how the numbers are stored
  const void* extra{};
  /// Columns [k, k + depth) of a panel as (depth, 32) floats: in place, or decoded into `buffer`.
  const float* (*floats)(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                         float* buffer);
  /// The same as bf16: pairs along k, (depth / 2, 32, 2).
  const uint32_t* (*pairs_along_k)(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                                   uint32_t* buffer);
  /// The same as bf16: pairs along n, (depth, 16, 2).
  const uint32_t* (*pairs_along_n)(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                                   uint32_t* buffer);
  /// c (rows, 32) = x (depth, rows) · the whole panel, for up to few_rows_tile rows and without a
  /// tile; nullptr where a tile is just as good.
  void (*few_rows)(const PanelMatrix& w, int64_t panel, int rows, const float* x, float* c,
                   int64_t ldc) = nullptr;
};

/// True for the dtypes that products with panels take: x and y f32, bf16 or f16, factors of a
/// low-rank term f32.
inline bool panel_dtypes(const TensorView& x, const TensorView& y, const TensorView& u,
                         const TensorView& b) {
  const auto is_narrow = [](const TensorView& view) {
    return is_floating(view.dtype) && view.dtype != DType::f64;
  };
  const auto is_factor = [](const TensorView& view) { return !view || view.dtype == DType::f32; };
  return is_narrow(x) && is_narrow(y) && is_factor(u) && is_factor(b);
}

/// What is multiplied in f32 or, where the kernels have it, in bf16 with f32 sums.
enum class Compute { floats, pairs };

/// y = x wᵀ + bias + u bᵀ as the linear slot; args.w is not looked at. Requires: panel_dtypes.
void panel_linear(Compute compute, const PanelMatrix& w, const LinearArgs& args);

/// dx = dy w + g a as the linear_backward slot; args.w is not looked at.
void panel_linear_backward(Compute compute, const PanelMatrix& w, const LinearBackwardArgs& args);

}  // namespace graft::cpu_kernels
