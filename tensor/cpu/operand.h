// Reading blocks of matrices of any floating dtype in the type that is computed with.
#pragma once

#include <type_traits>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/gemm_tile.h"
#include "graft/tensor/tensor.h"

namespace graft::cpu_kernels {

/// A matrix of any floating dtype, read block by block in the type computed with.
struct Operand {
  TensorView view;
  bool transposed = false;

  explicit operator bool() const { return view.data != nullptr; }
  int64_t row_stride() const { return view.strides[transposed ? 1 : 0]; }
  int64_t col_stride() const { return view.strides[transposed ? 0 : 1]; }
  int64_t rows() const { return view.sizes[transposed ? 1 : 0]; }
  int64_t cols() const { return view.sizes[transposed ? 0 : 1]; }
};

/// A block of an operand, in place where it has the type C, else converted into scratch memory.
template <class C>
class ReadBlock {
 public:
  ReadBlock(const Operand& operand, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    const int64_t offset = row * operand.row_stride() + col * operand.col_stride();
    visit_float(operand.view.dtype, [&]<class T>() {
      const T* source = operand.view.template as<T>() + offset;
      if constexpr (std::is_same_v<T, C>)
        block_ = {source, operand.row_stride(), operand.col_stride()};
      else
        convert_block(source, operand, rows, cols);
      return KernelStatus::done;
    });
  }
  const Block<C>& operator*() const { return block_; }

 private:
  template <class T>
  void convert_block(const T* source, const Operand& operand, int64_t rows, int64_t cols) {
    scratch_ = Tensor::empty({rows, cols}, dtype_of<C>::value);
    C* out = scratch_.template data<C>();
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j)
        out[i * cols + j] = convert<C>(source[i * operand.row_stride() + j * operand.col_stride()]);
    }
    block_ = {out, cols, 1};
  }

  Tensor scratch_;
  Block<C> block_{};
};

/// The tile product that computes in C.
template <class C>
GemmTile<C> tile_of(const GemmTiles& tiles) {
  if constexpr (std::is_same_v<C, double>)
    return tiles.f64;
  else
    return tiles.f32;
}

}  // namespace graft::cpu_kernels
