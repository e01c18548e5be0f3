#include "graft/peft/changed_norms.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "graft/quant/linear.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/packed_tensor.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// Rows that are decoded and converted to f64 at a time: whole panels, and blocks of 4 bits.
constexpr int64_t row_block = 64;

/// Rows [begin, end) of a weight (N,K).
Tensor rows_of(const Variable& w, int64_t begin, int64_t end) {
  return w.value().slice(0, begin, end);
}
Tensor rows_of(const PackedTensor& w, int64_t begin, int64_t end) {
  std::vector<int64_t> indices(static_cast<size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return unpack_rows(w, Tensor::from(indices, {end - begin}));
}
Tensor rows_of(const quant::QuantizedTensor& w, int64_t begin, int64_t end) {
  return quant::dequantize_rows(w, begin, end, w.dtype);
}

const Tensor& matrix_of(const Variable& w) {
  return w.value();
}
const PackedTensor& matrix_of(const PackedTensor& w) {
  return w;
}
const quant::QuantizedTensor& matrix_of(const quant::QuantizedTensor& w) {
  return w;
}

}  // namespace

void ChangedNorms::sum_squares() {
  const int64_t count = weight_.shape()[0];
  const int64_t width = weight_.shape()[1];
  Tensor squares = Tensor::zeros({of_ == Of::rows ? count : width}, DType::f64);
  double* sums = squares.data<double>();
  weight_.visit([&](const auto& w) {
    for (int64_t begin = 0; begin < count; begin += row_block) {
      const int64_t end = std::min(begin + row_block, count);
      const Tensor rows = rows_of(w, begin, end).to(DType::f64);
      for (int64_t i = 0; i < rows.numel(); ++i) {
        const double value = rows.data<double>()[i];
        sums[of_ == Of::rows ? begin + i / width : i % width] += value * value;
      }
    }
  });
  squares_ = squares;
}

Tensor ChangedNorms::product_with(const Tensor& a) const {
  return weight_.visit([&](const auto& held) {
    const auto& w = matrix_of(held);
    return of_ == Of::rows ? ops::linear(a, w, {}, {}, {}) : ops::linear_backward(a, w, {}, {});
  });
}

Tensor ChangedNorms::under(std::span<const LowRank> changes) {
  if (!squares_.defined())
    sum_squares();
  std::vector<Tensor> as;
  std::vector<Tensor> bs;
  for (const LowRank& change : changes) {
    as.push_back(change.a.value());
    bs.push_back(ops::scale(change.b.value().to(DType::f64), change.scale));
  }
  const Tensor a = ops::concatenate(as, 0);
  const Tensor b = ops::concatenate(bs, 1);
  const Tensor cross = product_with(a).to(DType::f64);
  const Tensor a64 = a.to(DType::f64);
  const Tensor spread = ops::matmul(b, ops::matmul(a64, a64.transpose(0, 1)));
  const int64_t count = b.dim(0);
  const int64_t r = b.dim(1);
  Tensor norms = Tensor::empty({count}, DType::f64);
  for (int64_t i = 0; i < count; ++i) {
    double square = squares_.data<double>()[i];
    for (int64_t k = 0; k < r; ++k)
      square += b.data<double>()[i * r + k] *
                (2 * cross.data<double>()[k * count + i] + spread.data<double>()[i * r + k]);
    norms.data<double>()[i] = std::sqrt(std::max(square, 0.0));  // below 0 by rounding only
  }
  return norms;
}

}  // namespace graft::peft
