#include "graft/peft/factors.h"

#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>

#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"

namespace graft::peft {
namespace {

using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix matrix_of(const Tensor& x) {
  const Tensor wide = x.to(DType::f64).contiguous();
  return Eigen::Map<const RowMajor>(wide.data<double>(), wide.dim(0), wide.dim(1));
}

Tensor tensor_of(const Matrix& x, DType dtype) {
  Tensor result = Tensor::empty({x.rows(), x.cols()}, DType::f64);
  Eigen::Map<RowMajor>(result.data<double>(), x.rows(), x.cols()) = x;
  return result.to(dtype);
}

struct Qr {
  Matrix q, r;
};

Qr thin_qr(const Matrix& x) {
  const Eigen::HouseholderQR<Matrix> qr(x);
  const Eigen::Index size = std::min(x.rows(), x.cols());
  return {qr.householderQ() * Matrix::Identity(x.rows(), size),
          qr.matrixQR().topRows(size).triangularView<Eigen::Upper>()};
}

struct SingularValues {
  Matrix u;
  Eigen::VectorXd values;
  Matrix v;
};

SingularValues exact_svd(const Matrix& x) {
  const Eigen::BDCSVD<Matrix> svd(x, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.matrixU(), svd.singularValues(), svd.matrixV()};
}

constexpr int64_t oversampling = 16;
constexpr int passes = 4;

/// The first singular values, from a subspace that a few passes turn towards them.
SingularValues subspace_svd(const Matrix& x, int64_t rank) {
  const Tensor start = ops::normal({x.cols(), rank + oversampling}, 0, 1, 0,
                                   stream_of("subspace iteration"), DType::f64);
  Matrix q = thin_qr(x * matrix_of(start)).q;
  for (int pass = 0; pass < passes; ++pass)
    q = thin_qr(x * thin_qr(x.transpose() * q).q).q;
  SingularValues small = exact_svd(q.transpose() * x);
  small.u = (q * small.u).eval();
  return small;
}

/// Puts the first `rank` of the singular values into factors; `left` and `right` lead from them to
/// the whole matrix.
Factors factors_of(const Matrix& u, const Eigen::VectorXd& values, const Matrix& v, int64_t rank,
                   DType dtype) {
  const Eigen::Index kept = std::min<Eigen::Index>(rank, values.size());
  const Matrix b = u.leftCols(kept) * values.head(kept).asDiagonal();
  return padded({.a = tensor_of(v.leftCols(kept).transpose(), dtype), .b = tensor_of(b, dtype)},
                rank);
}

}  // namespace

Approximation compress(const Factors& factors, int64_t rank) {
  const Qr left = thin_qr(matrix_of(factors.b));
  const Qr right = thin_qr(matrix_of(factors.a).transpose());
  const SingularValues small = exact_svd(left.r * right.r.transpose());
  const Eigen::Index kept = std::min<Eigen::Index>(rank, small.values.size());
  return {.factors = factors_of(left.q * small.u, small.values, right.q * small.v, rank,
                                factors.a.dtype()),
          .energy = small.values.squaredNorm(),
          .discarded = small.values.tail(small.values.size() - kept).squaredNorm()};
}

Approximation compress(const Tensor& matrix, int64_t rank, Svd svd) {
  const Matrix x = matrix_of(matrix);
  const bool is_small = 8 * (rank + oversampling) > std::min(x.rows(), x.cols());
  const SingularValues found = svd == Svd::exact || is_small ? exact_svd(x) : subspace_svd(x, rank);
  const Eigen::Index kept = std::min<Eigen::Index>(rank, found.values.size());
  const double energy = x.squaredNorm();
  return {.factors = factors_of(found.u, found.values, found.v, rank, matrix.dtype()),
          .energy = energy,
          .discarded = std::max(0.0, energy - found.values.head(kept).squaredNorm())};
}

Tensor product(const Factors& factors) {
  return ops::matmul(factors.b, factors.a);
}

Factors side_by_side(const std::vector<Factors>& parts) {
  std::vector<Tensor> as;
  std::vector<Tensor> bs;
  for (const Factors& part : parts) {
    as.push_back(part.a.contiguous());
    bs.push_back(part.b.contiguous());
  }
  return {.a = ops::concatenate(as, 0), .b = ops::concatenate(bs, 1)};
}

Factors padded(const Factors& factors, int64_t rank) {
  const int64_t missing = rank - factors.a.dim(0);
  GRAFT_CHECK(missing >= 0, Error, "padded: rank ", rank, " given, factors have ",
              factors.a.dim(0));
  if (missing == 0)
    return factors;
  const DType dtype = factors.a.dtype();
  return side_by_side({factors,
                       {.a = Tensor::zeros({missing, factors.a.dim(1)}, dtype),
                        .b = Tensor::zeros({factors.b.dim(0), missing}, dtype)}});
}

}  // namespace graft::peft
