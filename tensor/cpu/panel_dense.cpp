#include "graft/tensor/cpu/panel_dense.h"

#include "graft/tensor/cpu/panel_packing.h"

namespace graft::cpu_kernels {
namespace {

const float* floats_in_place(const PanelMatrix& w, int64_t panel, int64_t k, int64_t, float*) {
  return static_cast<const float*>(w.data) + (panel * w.depth + k) * panel_width;
}

const uint32_t* pairs_in_place(const PanelMatrix& w, int64_t panel, int64_t k, int64_t, uint32_t*) {
  return static_cast<const uint32_t*>(w.data) + (panel * w.depth + k) / 2 * panel_width;
}

const float* widened(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth, float* buffer) {
  w.kernels->widen(pairs_in_place(w, panel, k, depth, nullptr), depth / 2, buffer);
  return buffer;
}

void few_rows_of_pairs(const PanelMatrix& w, int64_t panel, int rows, const float* x, float* c,
                       int64_t ldc) {
  const Cut depths = cut(w.depth, block_depth, w.step);
  for (int64_t i = 0; i < depths.count; ++i) {
    const Range depth = depths[i];
    w.kernels->few_pairs(rows, depth.size() / 2, x + depth.begin * rows,
                         pairs_in_place(w, panel, depth.begin, depth.size(), nullptr), c, ldc,
                         i > 0);
  }
}

const uint32_t* turned(const PanelMatrix& w, int64_t panel, int64_t k, int64_t depth,
                       uint32_t* buffer) {
  w.kernels->turn(pairs_in_place(w, panel, k, depth, nullptr), depth / 2, buffer);
  return buffer;
}

}  // namespace

PanelMatrix dense_panels(const TileKernels& kernels, const TensorView& panels, int64_t n, int64_t k,
                         Compute compute) {
  const bool is_f32 = panels.dtype == DType::f32;
  const int64_t step = is_f32 ? 1 : 2;
  return {.n = n,
          .k = k,
          .depth = parts(k, step) * step,
          .step = step,
          .kernels = &kernels,
          .data = panels.data,
          .floats = is_f32 ? floats_in_place : widened,
          .pairs_along_k = is_f32 ? nullptr : pairs_in_place,
          .pairs_along_n = is_f32 ? nullptr : turned,
          .few_rows = is_f32 || compute == Compute::pairs ? nullptr : few_rows_of_pairs};
}

}  // namespace graft::cpu_kernels
