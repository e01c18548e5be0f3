#include "graft/peft/incremental_pca.h"

#include <algorithm>
#include <cmath>

#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// As PEFT: directions for each component that is wanted, and iterations.
constexpr int64_t directions_per_component = 2;
constexpr int64_t iterations = 4;

/// (features) f64
Tensor mean_of(const Tensor& rows) {
  return ops::scale(ops::sum_rows(rows.to(DType::f64)), 1.0 / static_cast<double>(rows.dim(0)));
}

/// rows (n, features) with `shift` (features) f64 taken from each, in f32.
Tensor shifted(const Tensor& rows, const Tensor& shift) {
  Tensor result = rows.contiguous().clone();
  const auto by = shift.span<double>();
  float* value = result.data<float>();
  for (int64_t row = 0; row < rows.dim(0); ++row) {
    for (const double each : by) {
      *value = static_cast<float>(*value - each);
      ++value;
    }
  }
  return result;
}

/// x with row i multiplied by factors[i].
Tensor scaled_rows(const Tensor& x, const Tensor& factors) {
  Tensor result = x.contiguous().clone();
  const auto by = factors.span<float>();
  for (size_t row = 0; row < by.size(); ++row) {
    const auto begin = static_cast<int64_t>(row);
    Tensor part = result.slice(0, begin, begin + 1);
    ops::scale_(part, by[row]);
  }
  return result;
}

/// Turns rows whose number of the largest magnitude is negative.
void settle_signs(Tensor& rows) {
  const int64_t width = rows.dim(1);
  for (int64_t row = 0; row < rows.dim(0); ++row) {
    float* values = rows.data<float>() + row * width;
    const float* largest = std::max_element(
        values, values + width, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    if (*largest < 0)
      std::transform(values, values + width, values, [](float value) { return -value; });
  }
}

}  // namespace

Tensor IncrementalPca::explained_variance_ratio() const {
  Tensor ratio = singular_values_.clone();
  for (float& value : ratio.span<float>())
    value = scatter_ > 0 ? static_cast<float>(value * value / scatter_) : 0;
  return ratio;
}

Tensor IncrementalPca::with_memory(const Tensor& rows, const Tensor& mean) const {
  const Tensor centred = shifted(rows, mean);
  if (!is_started())
    return centred;
  const auto before = static_cast<double>(rows_);
  const auto now = static_cast<double>(rows.dim(0));
  const Tensor step =
      ops::scale(ops::add(mean_, mean, -1), std::sqrt(before / (before + now) * now));
  return ops::concatenate(
      {{scaled_rows(components_, singular_values_), centred, step.to(DType::f32).view({1, -1})}},
      0);
}

void IncrementalPca::count_in(const Tensor& rows, const Tensor& mean) {
  const auto now = static_cast<double>(rows.dim(0));
  scatter_ += ops::sum_of_squares(shifted(rows, mean));
  if (is_started()) {
    const auto before = static_cast<double>(rows_);
    scatter_ += before * now / (before + now) * ops::sum_of_squares(ops::add(mean_, mean, -1));
    mean_ = ops::scale(ops::add(ops::scale(mean_, before), mean, now), 1 / (before + now));
  } else {
    mean_ = mean;
  }
  rows_ += rows.dim(0);
}

void IncrementalPca::add(const Tensor& rows) {
  GRAFT_CHECK(rows.rank() == 2 && rows.dtype() == DType::f32 &&
                  std::min(rows.dim(0), rows.dim(1)) >= count_,
              ShapeError, "incremental pca: rows are ", rows.dtype(), " ", rows.shape(),
              ", an f32 matrix with at least ", count_, " rows and columns expected");
  GRAFT_CHECK(!is_started() || rows.dim(1) == components_.dim(1), ShapeError,
              "incremental pca: rows are ", rows.shape(), ", those before had ", components_.dim(1),
              " columns");
  const Tensor mean = mean_of(rows);
  const Tensor x = with_memory(rows, mean);
  const int64_t directions =
      std::min(directions_per_component * count_, std::min(x.dim(0), x.dim(1)));
  const ops::Svd svd =
      ops::svd_lowrank(x, {.rank = directions, .niter = iterations, .stream = stream_});
  count_in(rows, mean);
  components_ = svd.vt.slice(0, 0, count_).clone();
  settle_signs(components_);
  singular_values_ = svd.s.slice(0, 0, count_).clone();
}

}  // namespace graft::peft
