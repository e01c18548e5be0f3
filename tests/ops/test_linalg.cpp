#include <cmath>
#include <limits>

#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

const Shape shapes[] = {{9, 5}, {5, 9}, {6, 6}, {1, 4}, {4, 1}, {70, 40}};

Tensor diagonal(const Tensor& s) {
  Tensor matrix = Tensor::zeros({s.numel(), s.numel()}, s.dtype());
  for (int64_t i = 0; i < s.numel(); ++i)
    matrix.data<double>()[i * s.numel() + i] = s.data<double>()[i];
  return matrix;
}

Tensor product(const ops::Svd& svd) {
  return ops::matmul(ops::matmul(svd.u, diagonal(svd.s)), svd.vt);
}

/// How far the columns are from length 1 and right angles.
double skew(const Tensor& columns) {
  const Tensor products = ops::matmul(columns.transpose(0, 1), columns);
  return test::max_difference(products, diagonal(Tensor::full({columns.dim(1)}, 1, DType::f64)));
}

}  // namespace

TEST_CASE("qr: the factors give x again, q has orthonormal columns, r is a triangle") {
  for (const Shape& shape : shapes) {
    CAPTURE(shape);
    const Tensor x = test::random_tensor(shape, 1, DType::f64);
    const auto [q, r] = ops::qr(x);
    CHECK(test::max_difference(ops::matmul(q, r), x) < 1e-13);
    CHECK(skew(q) < 1e-14);
    for (int64_t i = 0; i < r.dim(0); ++i) {
      for (int64_t j = 0; j < std::min(i, r.dim(1)); ++j)
        CHECK(r.data<double>()[i * r.dim(1) + j] == 0);
    }
  }
  // As LAPACK: the first column turns to the opposite of its first entry's side.
  CHECK(ops::qr(Tensor::from(std::vector<double>{3, 4}, {2, 1})).r.item() == doctest::Approx(-5));
}

TEST_CASE("svd: the factors give x again, are orthonormal, and the values fall") {
  for (const Shape& shape : shapes) {
    CAPTURE(shape);
    const Tensor x = test::random_tensor(shape, 1, DType::f64);
    const ops::Svd svd = ops::svd(x);
    CHECK(test::max_difference(product(svd), x) < 1e-13);
    CHECK(skew(svd.u) < 1e-13);
    CHECK(skew(svd.vt.transpose(0, 1)) < 1e-13);
    for (int64_t i = 0; i < svd.s.numel(); ++i) {
      CHECK(svd.s.data<double>()[i] >= 0);
      CHECK((i == 0 || svd.s.data<double>()[i] <= svd.s.data<double>()[i - 1]));
    }
  }
  const Tensor two = Tensor::from(std::vector<double>{3, 0, 4, 5}, {2, 2});
  CHECK(ops::svd(two).s.data<double>()[0] == doctest::Approx(std::sqrt(45)));
  CHECK(ops::svd(two).s.data<double>()[1] == doctest::Approx(std::sqrt(5)));
}

TEST_CASE("svd_lowrank: finds a matrix of its rank, and nears the largest values by iterations") {
  const Tensor left = test::random_tensor({60, 4}, 1, DType::f64);
  const Tensor right = test::random_tensor({4, 30}, 2, DType::f64);
  const Tensor x = ops::matmul(left, right);
  CHECK(test::max_difference(product(ops::svd_lowrank(x, {.rank = 4, .niter = 0})), x) < 1e-11);
  const Tensor full = test::random_tensor({60, 30}, 3, DType::f64);
  const Tensor exact = ops::svd(full).s.slice(0, 0, 4).contiguous();
  double last = std::numeric_limits<double>::infinity();
  for (const int64_t niter : {0, 2, 400}) {
    const ops::Svd found = ops::svd_lowrank(full, {.rank = 4, .niter = niter, .seed = 5});
    CHECK(skew(found.u) < 1e-13);
    const double distance = test::max_difference(found.s, exact);
    CHECK(distance < last);
    last = distance;
  }
  CHECK(last < 1e-3);
}

TEST_CASE("linalg: f32 is rounded once, and the bits do not depend on the number of threads") {
  const Tensor x = test::random_tensor({70, 40}, 1);
  const ops::Svd svd = ops::svd(x);
  CHECK(svd.u.dtype() == DType::f32);
  CHECK(test::same_bits(svd.s, ops::svd(x.to(DType::f64)).s.to(DType::f32)));
  CHECK(ops::qr(x.to(DType::bf16)).q.dtype() == DType::f32);
  test::check_threads_agree([&] {
    const ops::Svd part = ops::svd_lowrank(x, {.rank = 5, .niter = 3});
    const ops::Svd all = ops::svd(x);
    return std::vector<Tensor>{part.u, part.s, part.vt, all.u, all.s, all.vt};
  });
}

TEST_CASE("linalg: what cannot be decomposed is refused") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = Tensor::from(std::vector<double>{1, nan}, {2, 1});
  test::check_contains(test::message_of<NonFiniteError>([&] { ops::svd(x); }), "svd: x has");
  test::check_contains(test::message_of<ShapeError>([] { ops::qr(Tensor::zeros({3})); }),
                       "qr: x is f32 (3)");
  test::check_contains(test::message_of<ShapeError>([] {
                         ops::svd(Tensor::zeros({0, 3}));
                       }),
                       "svd: x is f32 (0, 3), a floating-point matrix with at least one number");
  test::check_contains(test::message_of<ShapeError>([] {
                         ops::svd_lowrank(Tensor::zeros({3, 2}), {.rank = 3, .niter = 1});
                       }),
                       "svd_lowrank: rank 3");
}

}  // namespace graft
