#include <cmath>

#include "graft/tensor/copy.h"
#include "graft/tensor/norm.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {

TEST_CASE("rms_norm: agrees with the definition for every dtype, with an offset and without") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const double offset : {0.0, 1.0}) {
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
              xs[row * 17 + j] * (offset + weights[j]) / std::sqrt(squares / 17 + 1e-5);
      }
      // One rounding of results up to about 9.
      const double tolerance = dtype == DType::f64   ? 1e-13
                               : dtype == DType::f32 ? 2e-6
                               : dtype == DType::f16 ? 0x1p-8
                                                     : 0x1p-5;
      test::for_each_kernel(rms_norm_slot, [&] {
        CHECK(test::max_difference(ops::rms_norm(x, weight, 1e-5, offset).y, expected) < tolerance);
      });
    }
  }
}

TEST_CASE("rms_norm: the offset is added before anything is rounded") {
  // In bf16, 1 plus a number below 2^-9 is 1.
  const Tensor x = test::random_tensor({200, 16}, 1, DType::bf16);
  const Tensor weight = ops::scale(test::random_tensor({16}, 2, DType::bf16), 0x1p-11);
  const Tensor shifted = ops::add(weight.to(DType::f32), Tensor::full({16}, 1));
  const Tensor exact = ops::rms_norm(x.to(DType::f32), shifted, 1e-5).y.to(DType::bf16);
  const Tensor rounded_first = ops::rms_norm(x, shifted.to(DType::bf16), 1e-5).y;
  CHECK(test::same_bits(ops::rms_norm(x, weight, 1e-5, 1).y, exact));
  CHECK_FALSE(test::same_bits(rounded_first, exact));
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

TEST_CASE("rms_norm: the gradient agrees with f64 on every instruction set") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t width : {7, 17, 64, 100}) {
      const Tensor x = test::random_tensor({70, width}, 1, dtype);
      const Tensor weight = test::random_tensor({width}, 2, dtype);
      const Tensor dy = test::random_tensor({70, width}, 3, dtype);
      const auto wide = [](const Tensor& t) { return t.to(DType::f64); };
      const Tensor rstd = ops::rms_norm(wide(x), wide(weight), 1e-5, 1).rstd;
      const auto expected = ops::rms_norm_backward(wide(dy), wide(x), wide(weight), rstd, true, 1);
      // Sums of up to 100 terms; bf16 results have 8 bits, f16 ones 11.
      const double tolerance = dtype == DType::f32 ? 2e-6 : dtype == DType::bf16 ? 8e-3 : 1e-3;
      test::for_each_kernel(rms_norm_backward_slot, [&] {
        const auto [dx, dweight] =
            ops::rms_norm_backward(dy, x, weight, rstd.to(DType::f32), true, 1);
        CHECK(test::relative_difference(dx, expected.dx) < tolerance);
        CHECK(test::relative_difference(dweight, expected.dweight) < tolerance);
      });
    }
  }
}

TEST_CASE("layer_norm: agrees with the definition for every dtype, also far from zero") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const double shift : {0.0, 100.0}) {
      const Tensor x = ops::add(test::random_tensor({3, 40, 17}, 1, DType::f64),
                                Tensor::full({3, 40, 17}, shift, DType::f64))
                           .to(dtype);
      const Tensor weight = test::random_tensor({17}, 2, dtype);
      const Tensor bias = test::random_tensor({17}, 3, dtype);
      const auto xs = x.to_vector(), weights = weight.to_vector(), biases = bias.to_vector();
      Tensor expected = Tensor::empty(x.shape(), DType::f64);
      for (size_t row = 0; row < 120; ++row) {
        double mean = 0, squares = 0;
        for (size_t j = 0; j < 17; ++j)
          mean += xs[row * 17 + j] / 17;
        for (size_t j = 0; j < 17; ++j)
          squares += (xs[row * 17 + j] - mean) * (xs[row * 17 + j] - mean);
        for (size_t j = 0; j < 17; ++j)
          expected.data<double>()[row * 17 + j] =
              (xs[row * 17 + j] - mean) * weights[j] / std::sqrt(squares / 17 + 1e-5) + biases[j];
      }
      // One rounding of results up to about 9; in f32 the mean of numbers near 100 has an error of
      // half an ulp, 4e-6.
      const double tolerance = dtype == DType::f64   ? 1e-12
                               : dtype == DType::f32 ? (shift == 0 ? 4e-6 : 4e-5)
                               : dtype == DType::f16 ? 0x1p-8
                                                     : 0x1p-5;
      CAPTURE(dtype);
      CAPTURE(shift);
      test::for_each_kernel(layer_norm_slot, [&] {
        CHECK(test::max_difference(ops::layer_norm(x, weight, bias, 1e-5).y, expected) < tolerance);
      });
    }
  }
}

TEST_CASE("layer_norm: the bits do not depend on the number of threads, forward or backward") {
  const Tensor x = test::random_tensor({200, 33}, 1);
  const Tensor weight = test::random_tensor({33}, 2);
  const Tensor dy = test::random_tensor({200, 33}, 3);
  test::check_threads_agree([&] {
    const auto forward = ops::layer_norm(x, weight, weight, 1e-5);
    const auto [dx, dweight, dbias] = ops::layer_norm_backward(dy, x, weight, forward, true);
    return std::vector<Tensor>{forward.y, dx, dweight, dbias};
  });
}

TEST_CASE("layer_norm: bf16 gradients of weight and bias are summed in f32 and rounded once") {
  // Rows of -1 and 1 are their own normalisation. Added up in bf16, a sum of ones stops at 256.
  Tensor x = Tensor::full({512, 2}, 1, DType::bf16);
  Tensor left = x.slice(1, 0, 1);
  ops::fill_(left, -1);
  const Tensor one = Tensor::full({2}, 1, DType::bf16);
  const auto forward = ops::layer_norm(x, one, one, 0);
  const auto grads = ops::layer_norm_backward(x, x, one, forward, true);
  CHECK(grads.dweight.to_vector() == std::vector<double>{512, 512});
  CHECK(grads.dbias.to_vector() == std::vector<double>{-512, 512});
}

TEST_CASE("layer_norm: an empty tensor stays empty, a wrong weight or bias is named") {
  const Tensor three = Tensor::zeros({3}), four = Tensor::zeros({4});
  CHECK(ops::layer_norm(Tensor::empty({0, 4}), four, four, 1e-5).y.shape() == Shape{0, 4});
  const auto message = [](const Tensor& weight, const Tensor& bias) {
    return test::message_of<Error>([&] {
      ops::layer_norm(Tensor::zeros({2, 4}), weight, bias, 1e-5);
    });
  };
  test::check_contains(message(three, four), "layer_norm: weight is (3), (4) expected");
  test::check_contains(message(four, three), "layer_norm: bias is (3), (4) expected");
  test::check_contains(message(four, four.to(DType::f64)), "layer_norm: bias is f64, f32 expected");
}

TEST_CASE("rms_norm: an empty tensor stays empty, a wrong weight is named") {
  CHECK(ops::rms_norm(Tensor::empty({0, 4}), Tensor::zeros({4}), 1e-5).y.shape() == Shape{0, 4});
  test::check_contains(test::message_of<ShapeError>([] {
                         ops::rms_norm(Tensor::zeros({2, 4}), Tensor::zeros({3}), 1e-5);
                       }),
                       "rms_norm: weight is (3), (4) expected");
}

}  // namespace graft
