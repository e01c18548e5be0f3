#include <cmath>

#include "graft/tensor/copy.h"
#include "graft/tensor/matmul.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

using test::random_tensor;

/// alpha a b in f64, the plain way.
Tensor reference(const Tensor& a, const Tensor& b, double alpha = 1) {
  const Tensor x = a.to(DType::f64).contiguous();
  const Tensor y = b.to(DType::f64).contiguous();
  Tensor c = Tensor::zeros({a.dim(0), b.dim(1)}, DType::f64);
  for (int64_t i = 0; i < a.dim(0); ++i) {
    for (int64_t k = 0; k < a.dim(1); ++k) {
      for (int64_t j = 0; j < b.dim(1); ++j)
        c.data<double>()[i * b.dim(1) + j] +=
            alpha * x.data<double>()[i * a.dim(1) + k] * y.data<double>()[k * b.dim(1) + j];
    }
  }
  return c;
}

/// Relative to the largest result: f32 sums of up to 600 products, rounded operands for 16 bits.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-14;
    case DType::f32:
      return 2e-6;
    case DType::bf16:
      return 8e-3;  // the result has 8 bits of mantissa
    default:
      return 1e-3;  // f16: 11 bits
  }
}

}  // namespace

TEST_CASE("matmul: agrees with f64 for every kernel, dtype, layout and odd size") {
  struct Case {
    int64_t m, k, n;
  };
  for (const auto [m, k, n] : {Case{1, 1, 1},
                               {3, 5, 7},
                               {1, 64, 300},
                               {257, 33, 129},
                               {300, 600, 2},
                               {6, 70, 150},
                               {67, 130, 17},
                               {128, 70, 8}}) {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
      const Tensor a = random_tensor({m, k}, 1, dtype);
      const Tensor b = random_tensor({k, n}, 2, dtype);
      const Tensor a_columns = a.transpose(0, 1).clone().transpose(0, 1);
      const Tensor b_columns = b.transpose(0, 1).clone().transpose(0, 1);
      const Tensor expected = reference(a, b, 0.5);
      test::for_each_kernel(matmul_slot, [&] {
        for (const Tensor& left : {a, a_columns}) {
          for (const Tensor& right : {b, b_columns}) {
            CAPTURE(left.shape());
            CAPTURE(dtype);
            CHECK(test::relative_difference(ops::matmul(left, right, 0.5), expected) <
                  tolerance(dtype));
          }
        }
      });
    }
  }
}

TEST_CASE("matmul: bf16 and f32 mix, the result has the dtype asked for") {
  const Tensor a = random_tensor({40, 50}, 1, DType::bf16);
  const Tensor b = random_tensor({50, 8}, 2);
  const Tensor c = ops::matmul(a, b, 1, DType::f32);
  CHECK(c.dtype() == DType::f32);
  CHECK(test::relative_difference(c, reference(a, b)) < tolerance(DType::f32));
}

TEST_CASE("linear: y = x wᵀ + bias + u bᵀ, with and without each part") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const DType adapter = accumulator_dtype(dtype);
    const Tensor x = random_tensor({2, 130, 20}, 1, dtype);
    const Tensor w = random_tensor({33, 20}, 2, dtype);
    const Tensor bias = random_tensor({33}, 3, dtype);
    const Tensor u = random_tensor({260, 4}, 4, adapter);
    const Tensor b = random_tensor({33, 4}, 5, adapter);
    const Tensor rows = x.view({260, 20});
    Tensor plain = reference(rows, w.transpose(0, 1));
    Tensor full = plain.clone();
    const Tensor low_rank = reference(u, b.transpose(0, 1));
    const auto bias_values = bias.to_vector();
    for (int64_t i = 0; i < 260 * 33; ++i)
      full.data<double>()[i] +=
          low_rank.data<double>()[i] + bias_values[static_cast<size_t>(i % 33)];
    test::for_each_kernel(linear_slot, [&] {
      CHECK(test::relative_difference(ops::linear(x, w, {}, {}, {}), plain.view({2, 130, 33})) <
            tolerance(dtype));
      CHECK(test::relative_difference(ops::linear(x, w, bias, u, b), full.view({2, 130, 33})) <
            tolerance(dtype));
    });
  }
}

TEST_CASE("linear: a low-rank term of zeros changes no bit") {
  const Tensor x = random_tensor({5, 20}, 1);
  const Tensor w = random_tensor({33, 20}, 2);
  const Tensor u = random_tensor({5, 4}, 3);
  CHECK(test::same_bits(ops::linear(x, w, {}, u, Tensor::zeros({33, 4})),
                        ops::linear(x, w, {}, {}, {})));
}

TEST_CASE("linear_backward: dx = dy w + g a") {
  const Tensor dy = random_tensor({260, 33}, 1);
  const Tensor w = random_tensor({33, 140}, 2);
  const Tensor g = random_tensor({260, 4}, 3);
  const Tensor a = random_tensor({4, 140}, 4);
  Tensor expected = reference(dy, w);
  const Tensor term = reference(g, a);
  for (int64_t i = 0; i < expected.numel(); ++i)
    expected.data<double>()[i] += term.data<double>()[i];
  test::for_each_kernel(linear_backward_slot, [&] {
    CHECK(test::relative_difference(ops::linear_backward(dy, w, g, a), expected) <
          tolerance(DType::f32));
  });
}

TEST_CASE("matmul: the bits do not depend on the number of threads") {
  const Tensor a = random_tensor({700, 100}, 1);
  const Tensor b = random_tensor({100, 500}, 2);
  const Tensor thin = random_tensor({700, 20}, 3);
  test::check_threads_agree([&] {
    return std::vector<Tensor>{ops::matmul(a, b), ops::matmul(thin.transpose(0, 1), a)};
  });
}

TEST_CASE("matmul: gradients of a factor, of activations in any dtype") {
  // The gradients of B and A of an adapter of rank 20: more rows than one tile has, columns that
  // fill no panel, rows that fill no block.
  const Tensor g = random_tensor({333, 20}, 1);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    CAPTURE(dtype);
    const Tensor x = random_tensor({333, 230}, 2, dtype);
    const Tensor expected = reference(g.transpose(0, 1), x, 0.5);
    test::for_each_kernel(matmul_slot, [&] {
      const Tensor by_row = ops::matmul(g.transpose(0, 1), x, 0.5, DType::f32);
      CHECK(test::relative_difference(by_row, expected) < tolerance(DType::f32));
      const Tensor by_column = ops::matmul(x.transpose(0, 1), g, 0.5, DType::f32);
      CHECK(test::relative_difference(by_column.transpose(0, 1), expected) < tolerance(DType::f32));
    });
  }
}

TEST_CASE("matmul: an empty inner dimension gives zeros, empty results are fine") {
  CHECK(ops::matmul(Tensor::empty({2, 0}), Tensor::empty({0, 3})).to_vector() ==
        std::vector<double>(6, 0.0));
  CHECK(ops::matmul(Tensor::empty({0, 4}), Tensor::empty({4, 3})).shape() == Shape{0, 3});
}

TEST_CASE("matmul: says what does not fit") {
  test::check_contains(test::message_of<ShapeError>([] {
                         ops::matmul(Tensor::zeros({2, 3}), Tensor::zeros({4, 5}));
                       }),
                       "matmul: inner dimensions differ: a is (2, 3), b is (4, 5)");
  test::check_contains(test::message_of<DTypeError>([] {
                         ops::matmul(Tensor::zeros({2, 3}, DType::f64), Tensor::zeros({3, 5}));
                       }),
                       "matmul: no kernel of device cpu takes these dtypes");
}

}  // namespace graft
