#include "graft/peft/factors.h"

#include <algorithm>

#include "graft/tensor/columns.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

constexpr int64_t oversampling = 16;
constexpr int64_t passes = 4;
constexpr int64_t first_guess = 64;  // of a rank that is not known
/// Of the largest singular value; in f64, smaller ones cannot be told from zero.
constexpr double zero = 1e-12;

/// The first `rank` of the singular values, in f64, as factors in `dtype`, padded where there are
/// fewer; of the matrix that has this energy, of which not all values need be there.
Approximation approximation(const ops::Svd& svd, int64_t rank, double energy, DType dtype) {
  const int64_t found = svd.s.numel();
  const int64_t kept = std::min(rank, found);
  const Tensor b = ops::scale_columns(svd.u.slice(1, 0, kept), svd.s.slice(0, 0, kept));
  const double not_found = std::max(0.0, energy - ops::sum_of_squares(svd.s));
  return {.factors = padded({.a = svd.vt.slice(0, 0, kept).to(dtype), .b = b.to(dtype)}, rank),
          .energy = energy,
          .discarded = ops::sum_of_squares(svd.s.slice(0, kept, found).contiguous()) + not_found,
          .singular_values = svd.s.slice(0, 0, kept).to_vector()};
}

/// The largest singular values of x, `count` at least where there are so many.
ops::Svd largest_values(const Tensor& x, int64_t count, Svd svd) {
  // At half of the size both take the same time.
  const bool is_small = 4 * (count + oversampling) > std::min(x.dim(0), x.dim(1));
  if (svd == Svd::exact || is_small)
    return ops::svd(x);
  return ops::svd_lowrank(
      x,
      {.rank = count + oversampling, .niter = passes, .stream = stream_of("subspace iteration")});
}

/// How many of the first `count` values, of all that a matrix has or of some, to keep so that no
/// more than `allowed` of its energy is lost; all of them where that is not enough.
struct Kept {
  int64_t rank;
  bool is_enough;
};
Kept fewest(const std::vector<double>& values, int64_t count, bool are_all, double energy,
            double allowed) {
  double lost = energy;
  for (const double value : values)
    lost -= value * value;
  lost = are_all ? 0 : std::max(0.0, lost);
  for (size_t i = values.size(); i > 0; --i) {
    const double more = lost + values[i - 1] * values[i - 1];
    if (values[i - 1] > zero * values[0] && more > allowed)
      return {std::min(count, static_cast<int64_t>(i)), static_cast<int64_t>(i) <= count};
    lost = more;
  }
  return {0, true};
}

}  // namespace

Approximation compress(const Factors& factors, int64_t rank) {
  const ops::Qr left = ops::qr(factors.b.to(DType::f64));
  const ops::Qr right = ops::qr(factors.a.to(DType::f64).transpose(0, 1));
  ops::Svd svd = ops::svd(ops::matmul(left.r, right.r.transpose(0, 1)));
  const double energy = ops::sum_of_squares(svd.s);
  svd.u = ops::matmul(left.q, svd.u);
  svd.vt = ops::matmul(svd.vt, right.q.transpose(0, 1));
  return approximation(svd, rank, energy, factors.a.dtype());
}

Approximation compress(const Tensor& matrix, int64_t rank, Svd svd) {
  const Tensor x = matrix.to(DType::f64);
  return approximation(largest_values(x, rank, svd), rank, ops::sum_of_squares(x), matrix.dtype());
}

Approximation compress_to_share(const Tensor& matrix, double share, int64_t most, Svd svd) {
  const Tensor x = matrix.to(DType::f64);
  const int64_t sizes = std::min(x.dim(0), x.dim(1));
  const int64_t bound = std::min(most, sizes);
  const double energy = ops::sum_of_squares(x);
  int64_t count = share < 1 ? std::min(first_guess, bound) : bound;
  for (;; count = std::min(2 * count, bound)) {
    const ops::Svd found = largest_values(x, count, svd);
    const bool are_all = found.s.numel() == sizes;
    const Kept kept =
        fewest(found.s.to_vector(), are_all ? bound : count, are_all, energy, (1 - share) * energy);
    if (kept.is_enough || are_all || count == bound)
      return approximation(found, std::max<int64_t>(kept.rank, 1), energy, matrix.dtype());
  }
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
