// The inner product of one output tile, compiled once per instruction set.
//
// Plain pointers only: the objects behind this header are built with wider instructions than the
// rest, and share no inline function with it that a linker could pick for everybody.
#pragma once

#include <cstdint>

namespace graft::cpu_kernels {

/// A matrix block; one of the strides is 1. Strides count elements.
template <class T>
struct Block {
  const T* data;
  int64_t row_stride, col_stride;
};

/// c (m,n), row-major with row stride ldc, = alpha · a (m,k) b (k,n), or += where `accumulate`.
template <class T>
using GemmTile = void (*)(int64_t m, int64_t n, int64_t k, T alpha, Block<T> a, Block<T> b, T* c,
                          int64_t ldc, bool accumulate);

/// The tile products of one instruction set.
struct GemmTiles {
  GemmTile<float> f32;
  GemmTile<double> f64;
};

namespace portable {
extern const GemmTiles gemm_tiles;
}
namespace x86_64_v3 {
extern const GemmTiles gemm_tiles;
}

}  // namespace graft::cpu_kernels
