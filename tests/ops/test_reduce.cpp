#include <cmath>
#include <limits>

#include "graft/tensor/reduce.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

constexpr DType floats[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

/// Σ f(x) in long double: 11 bits more than the sums that are tested.
template <class F>
double total(const std::vector<double>& values, const F& f) {
  long double sum = 0;
  for (const double value : values)
    sum += static_cast<long double>(f(value));
  return static_cast<double>(sum);
}

}  // namespace

TEST_CASE("sum: agrees with the definition for every dtype, over block borders") {
  for (const DType dtype : floats) {
    for (const int64_t n : {1, 3, 4096, 4097, 30001}) {
      const Tensor x = test::random_tensor({n}, 1, dtype);
      const auto values = x.to_vector();
      test::for_each_kernel(sum_slot, [&] {
        // f64 sums of up to 30,000 numbers of size 1: 2^-53 each.
        CHECK(std::fabs(ops::sum(x) - total(values, [](double v) { return v; })) < 1e-11);
        CHECK(std::fabs(ops::sum_of_squares(x) - total(values, [](double v) { return v * v; })) <
              1e-10);
      });
    }
  }
}

TEST_CASE("sum: reads views, and nothing sums to zero") {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(ops::sum(x.slice(1, 1, 3)) == 16);
  CHECK(ops::sum_of_squares(x.transpose(0, 1).slice(0, 0, 1)) == 17);
  CHECK(ops::sum(Tensor::zeros({0, 4})) == 0);
  CHECK(ops::sum(Tensor::full({}, 7)) == 7);
}

TEST_CASE("sum_rows: agrees with the definition for every dtype, over block borders") {
  for (const DType dtype : floats) {
    for (const int64_t width : {1, 255, 256, 600}) {
      const Tensor x = test::random_tensor({3, 11, width}, 1, dtype);
      const auto values = x.to_vector();
      Tensor expected = Tensor::zeros({width}, DType::f64);
      for (size_t i = 0; i < values.size(); ++i)
        expected.data<double>()[static_cast<int64_t>(i) % width] += values[i];
      // Sums of 33 numbers, up to 20, rounded once.
      const double tolerance = dtype == DType::f64   ? 1e-13
                               : dtype == DType::f32 ? 1e-5
                               : dtype == DType::f16 ? 0x1p-7
                                                     : 0x1p-4;
      test::for_each_kernel(sum_rows_slot, [&] {
        const Tensor y = ops::sum_rows(x);
        CHECK(y.dtype() == dtype);
        CHECK(test::max_difference(y, expected) < tolerance);
      });
    }
  }
}

TEST_CASE("sum_rows: 16-bit sums are kept in f32 and rounded once") {
  // Added up in bf16, a sum of ones stops at 256.
  CHECK(ops::sum_rows(Tensor::full({512, 2}, 1, DType::bf16)).to_vector() ==
        std::vector<double>{512, 512});
}

TEST_CASE("sum_rows: no rows sum to zeros") {
  CHECK(ops::sum_rows(Tensor::zeros({0, 3})).to_vector() == std::vector<double>{0, 0, 0});
}

TEST_CASE("sums: the bits do not depend on the number of threads") {
  const Tensor x = test::random_tensor({70, 1000}, 1);
  test::check_threads_agree([&] {
    return std::vector<Tensor>{Tensor::full({}, ops::sum(x), DType::f64),
                               Tensor::full({}, ops::sum_of_squares(x), DType::f64),
                               ops::sum_rows(x)};
  });
}

TEST_CASE("all_finite: finds one NaN or infinity anywhere, in every dtype") {
  for (const DType dtype : floats) {
    const Tensor x = test::random_tensor({5000}, 1, DType::f64);
    CHECK(ops::all_finite(x.to(dtype)));
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
      for (const int64_t at : {0, 4095, 4096, 4999}) {
        Tensor y = x.clone();
        y.data<double>()[at] = bad;
        CHECK_FALSE(ops::all_finite(y.to(dtype)));
      }
    }
  }
  CHECK(ops::all_finite(Tensor::zeros({0})));
}

TEST_CASE("all_finite: the largest numbers of a dtype are finite") {
  CHECK(ops::all_finite(Tensor::full({9000}, std::numeric_limits<double>::max(), DType::f64)));
  CHECK(ops::all_finite(Tensor::full({9000}, std::numeric_limits<float>::max())));
  CHECK(ops::all_finite(Tensor::full({9000}, 3.38e38, DType::bf16)));
  CHECK(ops::all_finite(Tensor::full({9000}, 65504, DType::f16)));
}

}  // namespace graft
