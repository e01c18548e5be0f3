#include <cmath>

#include "graft/tensor/rope.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

const std::vector<double> frequencies{1, 0.3, 0.01};

/// x (B,T,H,D) rotated by the definition in f64: element i by position · frequency[i], as one
/// complex number with element i + n, n the number of frequencies; `factor` scales what is rotated.
Tensor reference(const Tensor& x, const std::vector<int64_t>& positions, double factor) {
  const Tensor rounded = x.to(DType::f64);
  Tensor y = rounded.clone();
  const int64_t width = x.dim(3);
  const auto n = static_cast<int64_t>(frequencies.size());
  for (int64_t token = 0; token < x.dim(0) * x.dim(1); ++token) {
    for (int64_t head = 0; head < x.dim(2); ++head) {
      const int64_t row = (token * x.dim(2) + head) * width;
      for (int64_t i = 0; i < n; ++i) {
        const double angle = static_cast<double>(positions[static_cast<size_t>(token)]) *
                             frequencies[static_cast<size_t>(i)];
        const double a = rounded.data<double>()[row + i];
        const double b = rounded.data<double>()[row + i + n];
        y.data<double>()[row + i] = factor * (a * std::cos(angle) - b * std::sin(angle));
        y.data<double>()[row + i + n] = factor * (b * std::cos(angle) + a * std::sin(angle));
      }
    }
  }
  return y;
}

/// Results up to about 4, rounded once; for f32 the angles as well.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-14;
    case DType::f32:
      return 1e-5;  // half an ulp of an angle up to 100 is 4e-6
    case DType::f16:
      return 0x1p-9;
    default:
      return 0x1p-6;
  }
}

std::vector<int64_t> some_positions() {
  std::vector<int64_t> positions(2 * 20);
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int64_t>(i * 7 % 100);
  return positions;
}

}  // namespace

TEST_CASE("rope: agrees with the definition for every dtype, factor and share of the head") {
  const std::vector<int64_t> positions = some_positions();
  const Tensor tokens = Tensor::from(positions, {2, 20});
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t width : {6, 7, 16}) {
      const Tensor x = test::random_tensor({2, 20, 3, width}, 1, dtype);
      for (const double factor : {1.0, 1.25}) {
        const auto tables = ops::rope_tables(tokens, frequencies, dtype, factor);
        CAPTURE(dtype);
        CAPTURE(width);
        test::for_each_kernel(rope_slot, [&] {
          CHECK(test::max_difference(ops::rope(x, tables), reference(x, positions, factor)) <
                tolerance(dtype));
        });
      }
    }
  }
}

TEST_CASE("rope: position 0 changes nothing, the inverse undoes it") {
  const Tensor x = test::random_tensor({1, 3, 2, 6}, 1);
  const auto zero = ops::rope_tables(Tensor::zeros({1, 3}, DType::i64), frequencies, DType::f32);
  CHECK(test::same_bits(ops::rope(x, zero), x));
  const auto tables =
      ops::rope_tables(Tensor::from<int64_t>({5, 50, 500}, {1, 3}), frequencies, DType::f32);
  // Two f32 roundings of numbers up to 3.
  CHECK(test::max_difference(ops::rope(ops::rope(x, tables), tables, /*inverse=*/true), x) < 1e-6);
}

TEST_CASE("rope: the bits do not depend on the number of threads") {
  const Tensor x = test::random_tensor({2, 20, 3, 6}, 1);
  const auto tables =
      ops::rope_tables(Tensor::from(some_positions(), {2, 20}), frequencies, DType::f32);
  test::check_threads_agree([&] { return std::vector<Tensor>{ops::rope(x, tables)}; });
}

TEST_CASE("rope: says what does not fit") {
  const auto tables = ops::rope_tables(Tensor::zeros({1, 3}, DType::i64), frequencies, DType::f32);
  const auto message = [&](const Tensor& x) {
    return test::message_of<Error>([&] { ops::rope(x, tables); });
  };
  test::check_contains(message(Tensor::zeros({3, 2, 6})), "(B,T,H,D) expected");
  test::check_contains(message(Tensor::zeros({1, 4, 2, 6})), "cos is (3, 3), (4, 3) expected");
  test::check_contains(message(Tensor::zeros({1, 3, 2, 6}, DType::f64)),
                       "cos is f32, f64 expected");
  test::check_contains(message(Tensor::zeros({1, 3, 2, 5})),
                       "cos is (3, 3), (3, 2) or fewer angles expected for heads of 5");
}

}  // namespace graft
