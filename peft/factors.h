// Factors: a matrix as the product of two small ones, and the best such product for a given rank.
#pragma once

#include <cstdint>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::peft {

/// b a with a (r, in) and b (out, r).
struct Factors {
  Tensor a, b;
};

/// A product of a given rank that is nearest to a matrix.
struct Approximation {
  Factors factors;       ///< a has orthonormal rows, b orthogonal columns, the largest first
  double energy = 0;     ///< sum of the squares of the matrix
  double discarded = 0;  ///< of that, what the product lacks
  std::vector<double> singular_values{};  ///< of the product, falling, without those of padding
};

/// The nearest product of `rank` to b a: thin QR of b and aᵀ, then the singular values of the small
/// matrix between; (out, in) is never formed. Where the rank is more than the matrix has, the rest
/// of the factors is zero. Works in f64, returns in a's dtype.
Approximation compress(const Factors& factors, int64_t rank);

enum class Svd {
  exact,
  /// Where the rank is small beside the matrix, subspace iteration (Halko et al. 2011,
  /// arXiv:0909.4061) from fixed random numbers: many times faster, and near the optimum.
  fast,
};
/// The same for a matrix (out, in).
Approximation compress(const Tensor& matrix, int64_t rank, Svd svd);

/// Of the products nearest to a matrix (out, in) the one of the smallest rank that lacks at most
/// 1 - `share` of its energy, where `share` is in (0, 1]; of rank `most` where that is not enough.
/// Singular values that are zero but for rounding are never kept. The rank is at least 1, and no
/// less with Svd::fast than with Svd::exact.
Approximation compress_to_share(const Tensor& matrix, double share, int64_t most, Svd svd);

/// b a.
Tensor product(const Factors& factors);
/// Matrices whose product is the sum of the products: rows below each other, columns side by side.
Factors side_by_side(const std::vector<Factors>& parts);
/// The same product with rows and columns of zeros up to a rank.
Factors padded(const Factors& factors, int64_t rank);

}  // namespace graft::peft
