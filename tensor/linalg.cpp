#include "graft/tensor/linalg.h"

#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <utility>

#include "graft/tensor/error.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"
#include "graft/tensor/reduce.h"

namespace graft::ops {
namespace {

using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix matrix_of(const char* operation, const Tensor& x) {
  GRAFT_CHECK(x.rank() == 2 && x.numel() > 0 && is_floating(x.dtype()), ShapeError, operation,
              ": x is ", x.dtype(), " ", x.shape(),
              ", a floating-point matrix with at least one number expected");
  const Tensor values = x.contiguous().to(DType::f64);
  GRAFT_CHECK(all_finite(values), NonFiniteError, operation,
              ": x has a number that is NaN or infinite");
  return Eigen::Map<const RowMajor>(values.data<double>(), x.dim(0), x.dim(1));
}

template <class Values>
Tensor tensor_of(const Values& values, Shape shape, DType dtype) {
  Tensor tensor = Tensor::empty(std::move(shape), DType::f64);
  Eigen::Map<RowMajor>(tensor.data<double>(), values.rows(), values.cols()) = values;
  return tensor.to(accumulator_dtype(dtype));
}

struct MatrixQr {
  Matrix q, r;
};

MatrixQr qr_of(const Matrix& x) {
  const Eigen::Index k = std::min(x.rows(), x.cols());
  const Eigen::HouseholderQR<Matrix> decomposition(x);
  return {decomposition.householderQ() * Matrix::Identity(x.rows(), k),
          decomposition.matrixQR().topRows(k).triangularView<Eigen::Upper>()};
}

struct MatrixSvd {
  Matrix u;
  Eigen::VectorXd s;
  Matrix v;
};

MatrixSvd svd_of(const Matrix& x) {
  if (x.rows() < x.cols()) {
    MatrixSvd of_transpose = svd_of(x.transpose());
    return {std::move(of_transpose.v), std::move(of_transpose.s), std::move(of_transpose.u)};
  }
  // The triangle has the singular values and right vectors of x, and is smaller where x is tall.
  const MatrixQr tall = qr_of(x);
  const Eigen::BDCSVD<Matrix> decomposition(tall.r, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {tall.q * decomposition.matrixU(), decomposition.singularValues(),
          decomposition.matrixV()};
}

Svd tensors_of(const MatrixSvd& svd, DType dtype) {
  const Eigen::Index k = svd.s.size();
  return {tensor_of(svd.u, {svd.u.rows(), k}, dtype), tensor_of(svd.s, {k}, dtype),
          tensor_of(svd.v.transpose(), {k, svd.v.rows()}, dtype)};
}

}  // namespace

Qr qr(const Tensor& x) {
  const MatrixQr found = qr_of(matrix_of("qr", x));
  return {tensor_of(found.q, {found.q.rows(), found.q.cols()}, x.dtype()),
          tensor_of(found.r, {found.r.rows(), found.r.cols()}, x.dtype())};
}

Svd svd(const Tensor& x) {
  return tensors_of(svd_of(matrix_of("svd", x)), x.dtype());
}

Svd svd_lowrank(const Tensor& x, const SvdLowrank& options) {
  GRAFT_CHECK(x.rank() == 2 && options.rank >= 1 && options.rank <= std::min(x.dim(0), x.dim(1)),
              ShapeError, "svd_lowrank: rank ", options.rank, " of x ", x.shape(),
              " given, 1 to the smaller size expected");
  GRAFT_CHECK(options.niter >= 0, ConfigError, "svd_lowrank: niter is ", options.niter,
              ", at least 0 expected");
  const DType dtype = accumulator_dtype(x.dtype());
  const auto basis_of = [&](const Tensor& directions) {
    return tensor_of(qr_of(matrix_of("svd_lowrank", directions)).q, directions.shape(), dtype);
  };
  const Tensor random = normal({x.dim(1), options.rank}, 0, 1, options.seed, options.stream, dtype);
  Tensor basis = basis_of(matmul(x, random, 1, dtype));
  for (int64_t i = 0; i < options.niter; ++i) {
    basis = basis_of(matmul(x.transpose(0, 1), basis, 1, dtype));
    basis = basis_of(matmul(x, basis, 1, dtype));
  }
  const Tensor part = matmul(basis.transpose(0, 1), x, 1, dtype);
  MatrixSvd found = svd_of(matrix_of("svd_lowrank", part));
  found.u = matrix_of("svd_lowrank", basis) * found.u;
  return tensors_of(found, x.dtype());
}

}  // namespace graft::ops
