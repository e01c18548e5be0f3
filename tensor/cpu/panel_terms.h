// What products with a panel matrix do to 32 columns of their result besides the product itself:
// low-rank terms, bias, rounding.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "graft/tensor/cpu/panel_packing.h"
#include "graft/tensor/cpu/panel_tiles.h"

namespace graft::cpu_kernels {

/// The low-rank term of a product: u (M,R) times the transpose of b (N,R), or times b (R,N).
class LowRankTerm {
 public:
  LowRankTerm(const TileKernels& kernels, const TensorView& u, const TensorView& b,
              bool b_is_transposed, const Cut& blocks)
      : kernels_(kernels), b_(b), b_is_transposed_(b_is_transposed) {
    if (u)
      packed_.emplace(kernels, u, blocks, Cut{u.sizes[1], 1}, TileRows{kernels.rows, false});
  }

  explicit operator bool() const { return packed_.has_value(); }

  /// c (rows of the block, 32), row stride ldc, += its columns [32 panel, 32 panel + 32).
  void add(int64_t block, int64_t panel, float* c, int64_t ldc) const {
    const int64_t rank = b_.sizes[b_is_transposed_ ? 1 : 0];
    const int64_t width = b_.sizes[b_is_transposed_ ? 0 : 1];
    const Range columns{panel * panel_width, std::min(width, (panel + 1) * panel_width)};
    Tensor scratch = Tensor::empty({rank, panel_width});
    float* tile = scratch.data<float>();
    const float* b = b_.as<float>();
    if (b_is_transposed_) {
      transpose<float>(kernels_, b + columns.begin * rank, rank, columns.size(), {0, rank}, rank,
                       panel_width, tile);
    } else {
      for (int64_t r = 0; r < rank; ++r) {
        for (int64_t j = 0; j < panel_width; ++j)
          tile[r * panel_width + j] = j < columns.size() ? b[r * width + columns.begin + j] : 0;
      }
    }
    const auto u = packed_->columns(block, 0);
    for (const Range rows : packed_->tiles(block))
      kernels_.forward(static_cast<int>(rows.size()), rank, u.tile(rows), tile,
                       c + rows.begin * ldc, ldc, true);
  }

 private:
  const TileKernels& kernels_;
  TensorView b_;
  bool b_is_transposed_;
  std::optional<PackedRows<float>> packed_;
};

/// Rows of a result and 32 of its columns: written in place where they are f32 and all there, else
/// in a buffer that is rounded into the result at the end.
class ResultColumns {
 public:
  ResultColumns(const TensorView& y, Range rows, int64_t panel, float* buffer)
      : y_(y), rows_(rows), panel_(panel), buffer_(buffer) {}

  bool in_place() const {
    return y_.dtype == DType::f32 && (panel_ + 1) * panel_width <= y_.sizes[1];
  }
  float* data() const {
    return in_place() ? y_.as<float>() + rows_.begin * y_.sizes[1] + panel_ * panel_width : buffer_;
  }
  int64_t stride() const { return in_place() ? y_.sizes[1] : panel_width; }

  void finish(const TileKernels& kernels, const TensorView& bias) const {
    const Range columns{panel_ * panel_width, std::min(y_.sizes[1], (panel_ + 1) * panel_width)};
    if (bias)
      add_bias(bias, columns);
    if (in_place())
      return;
    if (y_.dtype == DType::bf16 && columns.size() == panel_width) {
      kernels.round(buffer_, rows_.size(),
                    y_.as<uint16_t>() + rows_.begin * y_.sizes[1] + columns.begin, y_.sizes[1]);
      return;
    }
    visit_float(y_.dtype, [&]<class T>() {
      for (int64_t i = 0; i < rows_.size(); ++i) {
        T* to = y_.as<T>() + (rows_.begin + i) * y_.sizes[1] + columns.begin;
        for (int64_t j = 0; j < columns.size(); ++j)
          to[j] = convert<T>(buffer_[i * panel_width + j]);
      }
      return KernelStatus::done;
    });
  }

 private:
  void add_bias(const TensorView& bias, Range columns) const {
    std::array<float, panel_width> values{};
    visit_float(bias.dtype, [&]<class T>() {
      for (int64_t j = 0; j < columns.size(); ++j)
        values[static_cast<size_t>(j)] = convert<float>(bias.as<T>()[columns.begin + j]);
      return KernelStatus::done;
    });
    for (int64_t i = 0; i < rows_.size(); ++i) {
      float* row = data() + i * stride();
      for (int64_t j = 0; j < panel_width; ++j)
        row[j] += values[static_cast<size_t>(j)];
    }
  }

  TensorView y_;
  Range rows_;
  int64_t panel_;
  float* buffer_;
};

}  // namespace graft::cpu_kernels
