#include "graft/peft/init.h"

#include <cmath>
#include <string>
#include <vector>

#include "graft/nn/init.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"

namespace graft::peft {
namespace {

/// (r,r) with rows of length 1 at right angles, in f64: random rows made so by Gram and Schmidt,
/// twice, which leaves nothing but rounding.
Tensor orthonormal_rows(int64_t r, uint64_t seed, std::string_view path) {
  Tensor rows = nn::normal({r, r}, 1, seed, path, DType::f64);
  const auto row = [&](int64_t i) { return rows.data<double>() + i * r; };
  const auto product = [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t k = 0; k < r; ++k)
      sum += row(i)[k] * row(j)[k];
    return sum;
  };
  for (int64_t i = 0; i < r; ++i) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t j = 0; j < i; ++j) {
        const double along = product(i, j);
        for (int64_t k = 0; k < r; ++k)
          row(i)[k] -= along * row(j)[k];
      }
      const double length = std::sqrt(product(i, i));
      for (int64_t k = 0; k < r; ++k)
        row(i)[k] /= length;
    }
  }
  return rows;
}

/// Rows first, first + 2, … of (r,r).
Tensor every_second_row(const Tensor& rows, int64_t first) {
  const int64_t r = rows.dim(1);
  const Tensor pairs = rows.view({r / 2, 2 * r});
  return pairs.slice(1, first * r, (first + 1) * r).contiguous();
}

/// A's rows and B's columns lie in spaces at right angles: B A is zero, and both get a gradient
/// from the first step on. https://datta0.github.io/posts/rethink-lora-init
void initialize_orthogonal(Lora& lora, uint64_t seed, const std::string& a_path,
                           const std::string& b_path, DType dtype) {
  constexpr double size = 0.1;
  const int64_t half = lora.r() / 2;
  const Tensor basis = orthonormal_rows(lora.r(), seed, a_path + ".basis");
  const Tensor left = nn::normal({half, lora.lora_a().shape()[1]}, size, seed, a_path, DType::f64);
  const Tensor right = nn::normal({lora.lora_b().shape()[0], half}, size, seed, b_path, DType::f64);
  const Tensor a = ops::matmul(every_second_row(basis, 0).transpose(0, 1), left);
  const Tensor b = ops::matmul(right, every_second_row(basis, 1));
  lora.lora_a().load(a.to(dtype));
  lora.lora_b().load(b.to(dtype));
}

/// ±1/sqrt(r), as the weight beside it.
Tensor random_bias(const nn::Parameter& bias, int64_t r, uint64_t seed, const std::string& path,
                   DType dtype) {
  const double bound = 1 / std::sqrt(static_cast<double>(r));
  return ops::uniform(bias.shape(), -bound, bound, seed, stream_of(path), dtype);
}

}  // namespace

void initialize(Lora& lora, LoraInit init, uint64_t seed, std::string_view path, DType dtype) {
  nn::Parameter& a = lora.lora_a();
  nn::Parameter& b = lora.lora_b();
  const std::string a_path = concat(path, ".", a.name());
  const std::string b_path = concat(path, ".", b.name());
  if (nn::Parameter* bias = lora.lora_b_bias())
    bias->load(init == LoraInit::random
                   ? random_bias(*bias, lora.r(), seed, concat(path, ".", bias->name()), dtype)
                   : Tensor::zeros(bias->shape(), dtype));
  if (const std::optional<LowRank> taken = lora.taken()) {
    a.load(taken->a.value().clone());
    b.load(taken->b.value().clone());
    return;
  }
  if (init == LoraInit::orthogonal) {
    initialize_orthogonal(lora, seed, a_path, b_path, dtype);
    return;
  }
  if (init == LoraInit::gaussian)
    a.load(nn::normal(a.shape(), 1.0 / static_cast<double>(lora.r()), seed, a_path, dtype));
  else
    a.load(nn::kaiming_uniform(a.shape(), seed, a_path, dtype));
  if (init == LoraInit::random)
    b.load(nn::kaiming_uniform(b.shape(), seed, b_path, dtype));
  else
    b.load(Tensor::zeros(b.shape(), dtype));
}

void initialize(LoraEmbedding& lora, LoraInit init, bool is_tied, uint64_t seed,
                std::string_view path, DType dtype) {
  nn::Parameter& a = lora.lora_a();
  nn::Parameter& b = lora.lora_b();
  const std::string a_path = concat(path, ".", a.name());
  const std::string b_path = concat(path, ".", b.name());
  if (init == LoraInit::random)
    a.load(nn::normal(a.shape(), 1, seed, a_path, dtype));
  else
    a.load(Tensor::zeros(a.shape(), dtype));
  if (is_tied && init == LoraInit::standard) {
    const double bound = 1 / std::sqrt(static_cast<double>(b.shape()[0]));
    b.load(ops::uniform(b.shape(), -bound, bound, seed, stream_of(b_path), dtype));
  } else {
    const bool as_head = is_tied && init == LoraInit::gaussian;
    const double deviation = as_head ? 1.0 / static_cast<double>(lora.r()) : 1;
    b.load(nn::normal(b.shape(), deviation, seed, b_path, dtype));
  }
}

}  // namespace graft::peft
