// Compiled once per instruction set. The build sets GRAFT_ISA to the namespace of the set and
// renames Eigen's namespace, so that no symbol of one set can stand in for another's.
#include "graft/tensor/cpu/gemm_tile.h"

#include "Eigen/Core"

namespace graft::cpu_kernels::GRAFT_ISA {
namespace {

template <class T, int order>
using MatrixMap = Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, order>, 0,
                             Eigen::OuterStride<>>;
template <class T>
using TileMap = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0,
                           Eigen::OuterStride<>>;

template <class T, int a_order, int b_order>
void product(int64_t m, int64_t n, int64_t k, T alpha, Block<T> a, Block<T> b, T* c, int64_t ldc,
             bool accumulate) {
  const int64_t a_outer = a_order == Eigen::RowMajor ? a.row_stride : a.col_stride;
  const int64_t b_outer = b_order == Eigen::RowMajor ? b.row_stride : b.col_stride;
  const MatrixMap<T, a_order> left(a.data, m, k, Eigen::OuterStride<>(a_outer));
  const MatrixMap<T, b_order> right(b.data, k, n, Eigen::OuterStride<>(b_outer));
  TileMap<T> tile(c, m, n, Eigen::OuterStride<>(ldc));
  if (accumulate)
    tile.noalias() += alpha * left * right;
  else
    tile.noalias() = alpha * left * right;
}

template <class T>
void gemm_tile(int64_t m, int64_t n, int64_t k, T alpha, Block<T> a, Block<T> b, T* c, int64_t ldc,
               bool accumulate) {
  constexpr int row = Eigen::RowMajor;
  constexpr int column = Eigen::ColMajor;
  const bool a_rows = a.col_stride == 1;
  const bool b_rows = b.col_stride == 1;
  if (a_rows && b_rows)
    return product<T, row, row>(m, n, k, alpha, a, b, c, ldc, accumulate);
  if (a_rows)
    return product<T, row, column>(m, n, k, alpha, a, b, c, ldc, accumulate);
  if (b_rows)
    return product<T, column, row>(m, n, k, alpha, a, b, c, ldc, accumulate);
  return product<T, column, column>(m, n, k, alpha, a, b, c, ldc, accumulate);
}

}  // namespace

extern const GemmTiles gemm_tiles;
const GemmTiles gemm_tiles{gemm_tile<float>, gemm_tile<double>};

}  // namespace graft::cpu_kernels::GRAFT_ISA
