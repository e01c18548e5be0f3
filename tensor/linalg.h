// Decompositions of matrices on the CPU: QR, and the singular value decomposition, whole or in
// part.
//
// Computed in f64 and rounded once to f32 (f64 for f64). One thread each, so that the bits do not
// depend on how many there are; several may run at the same time.
#pragma once

#include "graft/tensor/tensor.h"

namespace graft::ops {

struct Qr {
  Tensor q;  ///< (M,K), columns of length 1 at right angles
  Tensor r;  ///< (K,N), upper triangular
};
/// x (M,N) = q r with K = min(M,N), by Householder reflections: the signs are LAPACK's. Throws
/// ShapeError where x is no matrix or has no numbers; NonFiniteError where one is NaN or infinite.
Qr qr(const Tensor& x);

struct Svd {
  Tensor u;   ///< (M,K), columns of length 1 at right angles
  Tensor s;   ///< (K), falling
  Tensor vt;  ///< (K,N), rows of length 1 at right angles
};
/// x (M,N) = u diag(s) vt with K = min(M,N). Throws as qr().
Svd svd(const Tensor& x);

/// What a partial decomposition starts from.
struct SvdLowrank {
  int64_t rank;   ///< K, at most min(M,N)
  int64_t niter;  ///< iterations, at least 0; more are closer to the K largest of svd()
  uint64_t seed = 0;
  uint64_t stream = 0;
};
/// The nearest product of rank K, about: from the space that x maps K random directions to, brought
/// nearer to the large singular values by each iteration (Halko, Martinsson and Tropp 2009,
/// arXiv:0909.4061, algorithms 4.4 and 5.1), as torch.svd_lowrank. Throws as qr(), and ShapeError
/// for a rank that x does not have.
Svd svd_lowrank(const Tensor& x, const SvdLowrank& options);

}  // namespace graft::ops
