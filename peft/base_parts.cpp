#include "graft/peft/base_parts.h"

#include <algorithm>
#include <cmath>

#include "graft/tensor/error.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"

namespace graft::peft {
namespace {

ops::Svd largest_values(const Tensor& weight, int64_t r, const LoraConfig& config,
                        std::string_view path) {
  if (config.pissa_niter)
    return ops::svd_lowrank(weight,
                            {.rank = r, .niter = *config.pissa_niter, .stream = stream_of(path)});
  ops::Svd svd = ops::svd(weight);
  svd.u = svd.u.slice(1, 0, r);
  svd.s = svd.s.slice(0, 0, r);
  svd.vt = svd.vt.slice(0, 0, r);
  return svd;
}

/// (K,K) with the roots of s / scaling.
Tensor roots(const Tensor& s, double scaling) {
  const int64_t r = s.numel();
  Tensor matrix = Tensor::zeros({r, r}, DType::f64);
  for (int64_t i = 0; i < r; ++i)
    matrix.data<double>()[i * r + i] = std::sqrt(s.to_vector()[static_cast<size_t>(i)] / scaling);
  return matrix;
}

BasePart principal_part(const ops::Svd& svd, double scaling) {
  const DType dtype = svd.u.dtype();
  const Tensor sizes = roots(svd.s, scaling);
  return {.a = ops::matmul(sizes, svd.vt.to(DType::f64)).to(dtype),
          .b = ops::matmul(svd.u.contiguous().to(DType::f64), sizes).to(dtype)};
}

/// Q of the first r columns is the first r columns of Q, and those give the rows of R.
BasePart orthonormal_part(const Tensor& weight, int64_t r) {
  const Tensor values = weight.to(DType::f64);
  const Tensor q = ops::qr(values.slice(1, 0, r)).q;
  return {.a = ops::matmul(q.transpose(0, 1), values), .b = q};
}

}  // namespace

BasePart part_of(const Tensor& weight, int64_t r, double scaling, const LoraConfig& config,
                 std::string_view path) {
  GRAFT_CHECK(r <= std::min(weight.dim(0), weight.dim(1)), ConfigError, "lora config: the rank of ",
              path, " is ", r, ", but init_lora_weights \"", init_name(config), "\" needs one of ",
              std::min(weight.dim(0), weight.dim(1)), " at most: its weight is ", weight.shape());
  if (config.init_lora_weights == LoraInit::olora)
    return orthonormal_part(weight, r);
  GRAFT_CHECK(scaling > 0, ConfigError, "lora config: lora_alpha is 0 or less for ", path,
              ", but init_lora_weights \"", init_name(config), "\" divides by it");
  return principal_part(largest_values(weight, r, config, path), scaling);
}

}  // namespace graft::peft
