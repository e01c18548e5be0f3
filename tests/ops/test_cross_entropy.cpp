#include <cmath>

#include "graft/tensor/cross_entropy.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

struct Expected {
  Tensor loss, gradient;
};

/// The definition in f64.
Expected reference(const Tensor& logits, const std::vector<int64_t>& labels) {
  const int64_t width = logits.dim(1);
  const auto values = logits.to_vector();
  Expected expected{Tensor::zeros({logits.dim(0)}, DType::f64),
                    Tensor::zeros(logits.shape(), DType::f64)};
  for (int64_t row = 0; row < logits.dim(0); ++row) {
    const double* x = values.data() + row * width;
    const int64_t label = labels[static_cast<size_t>(row)];
    double total = 0;
    for (int64_t j = 0; j < width; ++j)
      total += std::exp(x[j]);
    expected.loss.data<double>()[row] = std::log(total) - x[label];
    for (int64_t j = 0; j < width; ++j)
      expected.gradient.data<double>()[row * width + j] = std::exp(x[j]) / total - (j == label);
  }
  return expected;
}

}  // namespace

TEST_CASE("cross_entropy_: loss and gradient agree with the definition for every dtype") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const int64_t width : {1, 2, 37, 1000}) {
      const Tensor logits = test::random_tensor({5, width}, 1, dtype);
      const std::vector<int64_t> labels{0, width - 1, width / 2, 0, width / 3};
      const Expected expected = reference(logits, labels);
      // Losses up to about 10 from f32 numbers; gradients of at most 1, rounded once.
      const double of_loss = dtype == DType::f64 ? 1e-13 : 4e-6;
      const double of_gradient = dtype == DType::f64   ? 1e-14
                                 : dtype == DType::f32 ? 1e-6
                                 : dtype == DType::f16 ? 0x1p-11
                                                       : 0x1p-8;
      test::for_each_kernel(cross_entropy_slot, [&] {
        CAPTURE(dtype);
        CAPTURE(width);
        Tensor gradient = logits.clone();
        const Tensor loss = ops::cross_entropy_(gradient, Tensor::from(labels, {5}), true);
        CHECK(loss.dtype() == accumulator_dtype(dtype));
        CHECK(test::max_difference(loss, expected.loss) < of_loss);
        CHECK(test::max_difference(gradient, expected.gradient) < of_gradient);
      });
    }
  }
}

TEST_CASE("cross_entropy_: without the gradient the loss is the same and the logits stay") {
  const Tensor logits = test::random_tensor({4, 50}, 1);
  const Tensor labels = Tensor::from<int64_t>({3, 0, 49, 7}, {4});
  Tensor kept = logits.clone();
  Tensor overwritten = logits.clone();
  CHECK(test::same_bits(ops::cross_entropy_(kept, labels, false),
                        ops::cross_entropy_(overwritten, labels, true)));
  CHECK(test::same_bits(kept, logits));
}

TEST_CASE("cross_entropy_: logits too large for exp give finite losses") {
  Tensor logits = Tensor::from<float>({1000, -1000, 999, -1e30f, 1e30f, 0}, {2, 3});
  const Tensor loss = ops::cross_entropy_(logits, Tensor::from<int64_t>({2, 1}, {2}), true);
  CHECK(loss.to_vector()[0] == doctest::Approx(1 + std::log1p(std::exp(-1))).epsilon(1e-6));
  CHECK(loss.to_vector()[1] == 0);
  CHECK(logits.to_vector()[0] == doctest::Approx(1 / (1 + std::exp(-1))).epsilon(1e-6));
  CHECK(logits.to_vector()[4] == 0);
}

TEST_CASE("cross_entropy_: a NaN among the logits reaches the loss") {
  for (const int64_t at : {0, 1, 2}) {
    Tensor logits = Tensor::zeros({1, 3});
    logits.data<float>()[at] = std::nanf("");
    CHECK(std::isnan(ops::cross_entropy_(logits, Tensor::from<int64_t>({1}, {1}), false).item()));
  }
}

TEST_CASE("cross_entropy_: the bits do not depend on the number of threads") {
  const Tensor logits = test::random_tensor({9, 300}, 1);
  const Tensor labels = Tensor::full({9}, 5, DType::i64);
  test::check_threads_agree([&] {
    Tensor gradient = logits.clone();
    Tensor loss = ops::cross_entropy_(gradient, labels, true);
    return std::vector<Tensor>{loss, gradient};
  });
}

TEST_CASE("cross_entropy_: what does not fit is named, and the logits stay") {
  Tensor logits = Tensor::zeros({2, 3});
  for (const int64_t label : {int64_t{-100}, int64_t{3}})
    test::check_contains(
        test::message_of<ShapeError>([&] {
          ops::cross_entropy_(logits, Tensor::from<int64_t>({0, label}, {2}), true);
        }),
        concat("cross_entropy: label ", label, " given, there are 3 logits"));
  Tensor columns = logits.transpose(0, 1);
  test::check_contains(test::message_of<ShapeError>([&] {
                         ops::cross_entropy_(columns, Tensor::zeros({3}, DType::i64), true);
                       }),
                       "row-major (rows, V) expected");
  test::check_contains(test::message_of<DTypeError>([&] {
                         ops::cross_entropy_(logits, Tensor::zeros({2}, DType::i32), true);
                       }),
                       "labels is i32, i64 expected");
  CHECK(logits.to_vector() == std::vector<double>(6, 0.0));
}

}  // namespace graft
