#include "graft/tensor/columns.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

constexpr int64_t width = 17;

/// One rounding of numbers up to about 16.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-13;
    case DType::f32:
      return 4e-6;
    case DType::f16:
      return 0x1p-7;
    default:
      return 0x1p-4;
  }
}

constexpr DType floats[] = {DType::f64, DType::f32, DType::bf16, DType::f16};

}  // namespace

TEST_CASE("scale_columns: value and gradients agree with the definition for every dtype") {
  for (const DType dtype : floats) {
    CAPTURE(dtype);
    const Tensor x = test::random_tensor({3, 40, width}, 1, dtype);
    const Tensor factors = test::random_tensor({width}, 2, accumulator_dtype(dtype));
    const Tensor bias = test::random_tensor({width}, 3, dtype);
    const Tensor dy = test::random_tensor({3, 40, width}, 4, dtype);
    Tensor plain = x.to(DType::f64).clone(), shifted = plain.clone();
    Tensor dx = dy.to(DType::f64).clone();
    Tensor dfactors = Tensor::zeros({width}, DType::f64);
    for (int64_t i = 0; i < x.numel(); ++i) {
      const auto column = static_cast<size_t>(i % width);
      const double factor = factors.to_vector()[column];
      dfactors.data<double>()[column] += plain.data<double>()[i] * dx.data<double>()[i];
      plain.data<double>()[i] *= factor;
      shifted.data<double>()[i] = plain.data<double>()[i] + bias.to_vector()[column];
      dx.data<double>()[i] *= factor;
    }
    test::for_each_kernel(scale_columns_slot, [&] {
      CHECK(test::max_difference(ops::scale_columns(x, factors), plain) < tolerance(dtype));
      CHECK(test::max_difference(ops::scale_columns(x, factors, bias), shifted) < tolerance(dtype));
    });
    test::for_each_kernel(scale_columns_backward_slot, [&] {
      const auto grads = ops::scale_columns_backward(dy, x, factors, true);
      CHECK(test::max_difference(grads.dx, dx) < tolerance(dtype));
      // Kept in f32 whatever the dtype: sums of 120 products up to about 100.
      CHECK(grads.dfactors.dtype() == accumulator_dtype(dtype));
      CHECK(test::max_difference(grads.dfactors, dfactors) < (dtype == DType::f64 ? 1e-12 : 2e-5));
    });
  }
}

TEST_CASE("scale_columns: computes only the gradients that are wanted; rows may be missing") {
  const Tensor x = test::random_tensor({5, width}, 1);
  const Tensor factors = test::random_tensor({width}, 2);
  const auto without_x = ops::scale_columns_backward(x, Tensor(), factors, true);
  CHECK(without_x.dx.defined());
  CHECK(!without_x.dfactors.defined());
  const auto without_dx = ops::scale_columns_backward(x, x, factors, false);
  CHECK(!without_dx.dx.defined());
  CHECK(without_dx.dfactors.defined());
  const Tensor none = Tensor::empty({0, width});
  CHECK(ops::scale_columns(none, factors).shape() == Shape{0, width});
  CHECK(test::max_difference(ops::scale_columns_backward(none, none, factors, true).dfactors,
                             Tensor::zeros({width})) == 0);
}

TEST_CASE("scale_columns: the bits do not depend on the number of threads") {
  const Tensor x = test::random_tensor({200, 33}, 1);
  const Tensor factors = test::random_tensor({33}, 2);
  const Tensor dy = test::random_tensor({200, 33}, 3);
  test::check_threads_agree([&] {
    const auto [dx, dfactors] = ops::scale_columns_backward(dy, x, factors, true);
    return std::vector<Tensor>{ops::scale_columns(x, factors), dx, dfactors};
  });
}

TEST_CASE("scale_columns: operands that do not fit are refused") {
  const Tensor x = test::random_tensor({5, 4}, 1, DType::bf16);
  test::check_contains(
      test::message_of<ShapeError>([&] { ops::scale_columns(x, Tensor::zeros({5})); }),
      "scale_columns: factors");
  test::check_contains(
      test::message_of<DTypeError>([&] { ops::scale_columns(x, Tensor::zeros({4}, DType::bf16)); }),
      "scale_columns: factors");
  test::check_contains(test::message_of<DTypeError>(
                           [&] { ops::scale_columns(x, Tensor::zeros({4}), Tensor::zeros({4})); }),
                       "scale_columns: bias");
}

}  // namespace graft
