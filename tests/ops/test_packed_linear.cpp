#include <string>

#include "graft/tensor/matmul.h"
#include "graft/tensor/packed_tensor.h"
#include "graft/tensor/parallel.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

using test::random_tensor;

struct Sizes {
  int64_t rows, in, out;
};

/// One number, sizes that are no multiple of anything, blocks of rows, columns and panels that are
/// exactly full, one more and one less.
constexpr Sizes all_sizes[] = {{1, 1, 1},      {1, 64, 32},     {5, 50, 33},    {37, 81, 100},
                               {33, 48, 96},   {130, 97, 31},   {352, 384, 64}, {353, 385, 65},
                               {721, 200, 70}, {13, 1000, 400}, {4, 775, 40},   {8, 33, 70},
                               {9, 34, 70}};

/// The parts of a product with adapter and bias, in f64 for the reference and as they are.
struct Product {
  Tensor x, w, bias, u, b, dy, g, a;

  Product(const Sizes& sizes, DType dtype)
      : x(random_tensor({sizes.rows, sizes.in}, 1, dtype)),
        w(random_tensor({sizes.out, sizes.in}, 2, dtype)),
        bias(random_tensor({sizes.out}, 3, dtype)),
        u(random_tensor({sizes.rows, 5}, 4)),
        b(random_tensor({sizes.out, 5}, 5)),
        dy(random_tensor({sizes.rows, sizes.out}, 6, dtype)),
        g(random_tensor({sizes.rows, 5}, 7)),
        a(random_tensor({5, sizes.in}, 8)) {}

  Tensor expected() const { return ops::linear(wide(x), wide(w), wide(bias), wide(u), wide(b)); }
  Tensor expected_backward() const {
    return ops::linear_backward(wide(dy), wide(w), wide(g), wide(a));
  }
  static Tensor wide(const Tensor& x) { return x.to(DType::f64); }
};

/// Relative to the largest result.
double tolerance(DType dtype) {
  // f32 sums of up to 1,000 products in blocks of 384; bf16 results have 8 bits of mantissa.
  return dtype == DType::f32 ? 2e-6 : 8e-3;
}

}  // namespace

TEST_CASE("pack: the matrix comes back bit for bit, rows and columns beyond it are zeros") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Shape& shape :
         {Shape{1, 1}, Shape{32, 64}, Shape{45, 7}, Shape{100, 33}, Shape{0, 4}, Shape{4, 0}}) {
      CAPTURE(shape);
      const Tensor w = random_tensor(shape, 9, dtype);
      const PackedTensor packed = pack(w);
      CHECK(packed.dtype() == dtype);
      CHECK(test::same_bits(unpack(packed), w));
      double sum = 0;
      for (const double value : packed.panels.to_vector())
        sum += value * value;
      double expected = 0;
      for (const double value : w.to_vector())
        expected += value * value;
      CHECK(sum == doctest::Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("packed linear: agrees with f64 on every instruction set, for any sizes") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Sizes& sizes : all_sizes) {
      const Product product(sizes, dtype);
      const PackedTensor w = pack(product.w);
      const Tensor expected = product.expected();
      test::for_each_kernel(packed_linear_slot, [&] {
        CAPTURE(std::string(packed_linear_slot.kernels(DeviceKind::cpu).back().name));
        CAPTURE(dtype);
        CAPTURE(product.x.shape());
        CAPTURE(product.w.shape());
        const Tensor y = ops::linear(product.x, w, product.bias, product.u, product.b);
        CHECK(y.dtype() == dtype);
        CHECK(test::relative_difference(y, expected) < tolerance(dtype));
      });
    }
  }
}

TEST_CASE("packed linear: a row's bits do not depend on how many rows there are") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    CAPTURE(dtype);
    const Tensor x = random_tensor({40, 775}, 1, dtype);
    const PackedTensor w = pack(random_tensor({70, 775}, 2, dtype));
    test::for_each_kernel(packed_linear_slot, [&] {
      const Tensor all = ops::linear(x, w, {}, {}, {});
      for (const int64_t rows : {1, 2, 3, 4, 5, 8, 9, 13}) {
        CAPTURE(rows);
        CHECK(test::same_bits(ops::linear(x.slice(0, 0, rows), w, {}, {}, {}),
                              all.slice(0, 0, rows)));
      }
    });
  }
}

TEST_CASE("packed linear: the gradient agrees with f64 on every instruction set") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Sizes& sizes : all_sizes) {
      const Product product(sizes, dtype);
      const PackedTensor w = pack(product.w);
      const Tensor expected = product.expected_backward();
      test::for_each_kernel(packed_linear_backward_slot, [&] {
        CAPTURE(std::string(packed_linear_backward_slot.kernels(DeviceKind::cpu).back().name));
        CAPTURE(dtype);
        CAPTURE(product.dy.shape());
        CAPTURE(product.w.shape());
        const Tensor dx = ops::linear_backward(product.dy, w, product.g, product.a);
        CHECK(test::relative_difference(dx, expected) < tolerance(dtype));
      });
    }
  }
}

TEST_CASE("packed linear: f32 meets a bf16 weight without rounding, f16 is read too") {
  const Product product({40, 70, 50}, DType::bf16);
  const PackedTensor w = pack(product.w);
  const Tensor x = random_tensor({40, 70}, 1);
  const Tensor expected = ops::linear(Product::wide(x), Product::wide(product.w), {}, {}, {});
  test::for_each_kernel(packed_linear_slot, [&] {
    CHECK(test::relative_difference(ops::linear(x, w, {}, {}, {}), expected) < 2e-6);
    const Tensor y = ops::linear(x.to(DType::f16), w, {}, {}, {});
    CHECK(y.dtype() == DType::f16);
    CHECK(test::relative_difference(y, expected) < 2e-3);  // f16: 11 bits, in and out
  });
}

TEST_CASE("packed linear: bytes do not depend on the number of threads") {
  const Product product({400, 400, 500}, DType::f32);
  const PackedTensor w = pack(product.w);
  const int before = thread_count();
  set_thread_count(1);
  const Tensor y = ops::linear(product.x, w, product.bias, product.u, product.b);
  const Tensor dx = ops::linear_backward(product.dy, w, product.g, product.a);
  for (const int threads : {2, 3}) {
    set_thread_count(threads);
    CHECK(test::same_bits(ops::linear(product.x, w, product.bias, product.u, product.b), y));
    CHECK(test::same_bits(ops::linear_backward(product.dy, w, product.g, product.a), dx));
  }
  set_thread_count(before);
}

TEST_CASE("packed linear: leading dimensions stay, no rows give no rows") {
  const PackedTensor w = pack(random_tensor({6, 4}, 1));
  CHECK(ops::linear(random_tensor({2, 3, 4}, 2), w, {}, {}, {}).shape() == Shape{2, 3, 6});
  CHECK(ops::linear(Tensor::zeros({0, 4}), w, {}, {}, {}).shape() == Shape{0, 6});
  CHECK(ops::linear_backward(Tensor::zeros({2, 0, 6}), w, {}, {}).shape() == Shape{2, 0, 4});
}

TEST_CASE("packed linear: what does not fit is refused") {
  const PackedTensor w = pack(random_tensor({6, 4}, 1));
  test::check_contains(test::message_of<ShapeError>([&] {
                         ops::linear(Tensor::zeros({2, 5}), w, {}, {}, {});
                       }),
                       "linear: x is (2, 5), the weight is (6, 4)");
  CHECK_THROWS_AS(pack(Tensor::zeros({2, 3, 4})), ShapeError);
  CHECK_THROWS_AS(pack(Tensor::zeros({2, 3}, DType::f64)), DTypeError);
  CHECK_THROWS_AS(ops::linear(Tensor::zeros({2, 4}, DType::f64), w, {}, {}, {}), DTypeError);
}

}  // namespace graft
