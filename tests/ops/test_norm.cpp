#include <cmath>

#include "graft/tensor/norm.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {

TEST_CASE("rms_norm: agrees with the definition for every dtype") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    const Tensor x = test::random_tensor({3, 40, 17}, 1, dtype);
    const Tensor weight = test::random_tensor({17}, 2, dtype);
    const auto xs = x.to_vector();
    const auto weights = weight.to_vector();
    Tensor expected = Tensor::empty(x.shape(), DType::f64);
    for (size_t row = 0; row < 120; ++row) {
      double squares = 0;
      for (size_t j = 0; j < 17; ++j)
        squares += xs[row * 17 + j] * xs[row * 17 + j];
      for (size_t j = 0; j < 17; ++j)
        expected.data<double>()[row * 17 + j] =
            xs[row * 17 + j] * weights[j] / std::sqrt(squares / 17 + 1e-5);
    }
    // One rounding of results up to about 9.
    const double tolerance = dtype == DType::f64   ? 1e-13
                             : dtype == DType::f32 ? 2e-6
                             : dtype == DType::f16 ? 0x1p-8
                                                   : 0x1p-5;
    test::for_each_kernel(rms_norm_slot, [&] {
      CHECK(test::max_difference(ops::rms_norm(x, weight, 1e-5).y, expected) < tolerance);
    });
  }
}

TEST_CASE("rms_norm: the bits do not depend on the number of threads, forward or backward") {
  const Tensor x = test::random_tensor({200, 33}, 1);
  const Tensor weight = test::random_tensor({33}, 2);
  const Tensor dy = test::random_tensor({200, 33}, 3);
  test::check_threads_agree([&] {
    const auto [y, rstd] = ops::rms_norm(x, weight, 1e-5);
    const auto [dx, dweight] = ops::rms_norm_backward(dy, x, weight, rstd, true);
    return std::vector<Tensor>{y, dx, dweight};
  });
}

TEST_CASE("rms_norm: an empty tensor stays empty, a wrong weight is named") {
  CHECK(ops::rms_norm(Tensor::empty({0, 4}), Tensor::zeros({4}), 1e-5).y.shape() == Shape{0, 4});
  test::check_contains(test::message_of<ShapeError>([] {
                         ops::rms_norm(Tensor::zeros({2, 4}), Tensor::zeros({3}), 1e-5);
                       }),
                       "rms_norm: weight is (3), (4) expected");
}

}  // namespace graft
