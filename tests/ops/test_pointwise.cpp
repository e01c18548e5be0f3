#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "graft/tensor/pointwise.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

using Function = std::function<double(double)>;

double silu(double x) {
  return x / (1 + std::exp(-x));
}
double gelu_exact(double x) {
  return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
}
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
Function gelu_of(GeluKind kind) {
  return kind == GeluKind::exact ? gelu_exact : gelu_tanh;
}

/// The derivative by central differences, good to 1e-9.
double slope(const Function& f, double x) {
  return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
}

/// f(x) or f(x, y) in f64, elementwise.
Tensor each(const Tensor& x, const Function& f) {
  Tensor result = x.to(DType::f64).clone();
  for (double& value : result.span<double>())
    value = f(value);
  return result;
}
Tensor each(const Tensor& x, const Tensor& y, const std::function<double(double, double)>& f) {
  Tensor result = x.to(DType::f64).clone();
  const Tensor other = y.to(DType::f64);
  for (size_t i = 0; i < result.span<double>().size(); ++i)
    result.span<double>()[i] = f(result.span<double>()[i], other.span<double>()[i]);
  return result;
}

/// One rounding of results up to about 16, and f32 arithmetic before it.
double tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-8;  // the differences above
    case DType::f32:
      return 4e-6;
    case DType::f16:
      return 0x1p-7;
    default:
      return 0x1p-4;
  }
}

/// Calls body with each kernel of the one slot and then of the other asked first.
void for_each_kernel_of(SlotBase& slot, SlotBase& other, const std::function<void()>& body) {
  test::for_each_kernel(slot, body);
  test::for_each_kernel(other, body);
}

constexpr DType floats[] = {DType::f64, DType::f32, DType::bf16, DType::f16};
constexpr GeluKind kinds[] = {GeluKind::exact, GeluKind::tanh};

}  // namespace

TEST_CASE("gelu: value and gradient agree with the definition for every dtype and kind") {
  for (const DType dtype : floats) {
    const Tensor x = ops::scale(test::random_tensor({3, 211}, 1, dtype), 2);
    const Tensor dy = test::random_tensor({3, 211}, 2, dtype);
    for (const GeluKind kind : kinds) {
      const Function f = gelu_of(kind);
      CAPTURE(dtype);
      test::for_each_kernel(gelu_slot, [&] {
        CHECK(test::max_difference(ops::gelu(x, kind), each(x, f)) < tolerance(dtype));
      });
      const Tensor expected = each(dy, x, [&](double d, double v) { return d * slope(f, v); });
      test::for_each_kernel(gelu_backward_slot, [&] {
        CHECK(test::max_difference(ops::gelu_backward(dy, x, kind), expected) < tolerance(dtype));
      });
    }
  }
}

TEST_CASE("swiglu, geglu: values and gradients agree with the definition for every dtype") {
  for (const DType dtype : floats) {
    const Tensor gate = test::random_tensor({3, 211}, 1, dtype);
    const Tensor up = test::random_tensor({3, 211}, 2, dtype);
    const Tensor dy = test::random_tensor({3, 211}, 3, dtype);
    const auto check = [&](const Function& f, const Tensor& y, const ops::GatedGrads& grads) {
      CAPTURE(dtype);
      const auto gated = [&](double g, double u) { return f(g) * u; };
      const auto d_up = [&](double d, double g) { return d * f(g); };
      const auto d_gate = [&](double d, double g) { return d * slope(f, g); };
      CHECK(test::max_difference(y, each(gate, up, gated)) < tolerance(dtype));
      CHECK(test::max_difference(grads.dup, each(dy, gate, d_up)) < tolerance(dtype));
      const Tensor product = each(dy, up, std::multiplies<>());
      CHECK(test::max_difference(grads.dgate, each(product, gate, d_gate)) < tolerance(dtype));
    };
    for_each_kernel_of(swiglu_slot, swiglu_backward_slot, [&] {
      check(silu, ops::swiglu(gate, up), ops::swiglu_backward(dy, gate, up));
    });
    for_each_kernel_of(geglu_slot, geglu_backward_slot, [&] {
      for (const GeluKind kind : kinds)
        check(gelu_of(kind), ops::geglu(gate, up, kind), ops::geglu_backward(dy, gate, up, kind));
    });
  }
}

TEST_CASE("swiglu: numbers of any size keep all bits but one or two on every instruction set") {
  // exp overflows at 88.7, its reciprocal is denormal from -87.3 on and zero from -103.9 on.
  std::vector<float> numbers{0, -0.0F, 1e-30F, -1e-30F, 88, -87, -88.5F, -90, -103, -105, 1e30F};
  for (int i = -400; i <= 400; ++i)
    numbers.push_back(0.2F * static_cast<float>(i));
  const auto count = static_cast<int64_t>(numbers.size());
  const Tensor gate = Tensor::from(numbers, {count});
  const Tensor ones = Tensor::full({count}, 1);
  test::for_each_kernel(swiglu_slot, [&] {
    const auto y = ops::swiglu(gate, ones).to_vector();
    for (size_t i = 0; i < numbers.size(); ++i) {
      const double expected = silu(static_cast<double>(numbers[i]));
      CAPTURE(numbers[i]);
      // Two units in the last place of exp, one each of sum and quotient. Where exp overflows the
      // result is 0 in place of up to 8e-38.
      CHECK(std::abs(y[i] - expected) <= 4e-7 * std::abs(expected) + 8e-38);
    }
  });
  const Tensor bad = Tensor::from<float>({std::nanf(""), 1, 2}, {3});
  test::for_each_kernel(swiglu_slot, [&] {
    const auto y = ops::swiglu(bad, Tensor::full({3}, 1)).to_vector();
    CHECK(std::isnan(y[0]));
    CHECK(y[1] == doctest::Approx(silu(1)));
  });
}

TEST_CASE("add: a + alpha b on every instruction set, rounded once") {
  for (const DType dtype : floats) {
    for (const int64_t count : {1, 15, 16, 33, 40000}) {
      const Tensor a = test::random_tensor({count}, 1, dtype);
      const Tensor b = test::random_tensor({count}, 2, dtype);
      const Tensor expected = each(a, b, [](double x, double y) { return x - 0.25 * y; });
      test::for_each_kernel(add_slot, [&] {
        CHECK(test::max_difference(ops::add(a, b, -0.25), expected) < tolerance(dtype));
      });
    }
  }
}

TEST_CASE("gelu: large numbers pass or vanish, a NaN stays, in both kinds") {
  const Tensor x = Tensor::from<float>({1e4f, -1e4f, 1e15f, -1e15f, 0, std::nanf("")}, {6});
  const Tensor ones = Tensor::full({6}, 1);
  for (const GeluKind kind : kinds) {
    const auto y = ops::gelu(x, kind).to_vector();
    CHECK(y[0] == 1e4);
    CHECK(y[1] == 0);
    CHECK(y[2] == doctest::Approx(1e15));
    CHECK(y[3] == 0);
    CHECK(y[4] == 0);
    CHECK(std::isnan(y[5]));
    const auto dx = ops::gelu_backward(ones, x, kind).to_vector();
    CHECK(dx[0] == 1);
    CHECK(dx[1] == 0);
    CHECK(dx[2] == 1);
    CHECK(dx[3] == 0);
    CHECK(dx[4] == 0.5);
    CHECK(std::isnan(dx[5]));
  }
}

TEST_CASE("gelu: reads views, an empty tensor stays empty, what does not fit is named") {
  const Tensor x = test::random_tensor({4, 6}, 1);
  CHECK(test::same_bits(ops::gelu(x.transpose(0, 1), GeluKind::tanh),
                        ops::gelu(x, GeluKind::tanh).transpose(0, 1)));
  CHECK(ops::gelu(Tensor::empty({0, 3}), GeluKind::exact).shape() == Shape{0, 3});
  test::check_contains(
      test::message_of<ShapeError>([&] { ops::geglu(x, x.transpose(0, 1), GeluKind::exact); }),
      "geglu: shapes differ: (4, 6) and (6, 4)");
}

TEST_CASE("gelu, geglu: the bits do not depend on the number of threads") {
  const Tensor x = test::random_tensor({50, 1000}, 1);
  const Tensor y = test::random_tensor({50, 1000}, 2);
  test::check_threads_agree([&] {
    const auto [dgate, dup] = ops::geglu_backward(y, x, y, GeluKind::tanh);
    return std::vector<Tensor>{ops::gelu(x, GeluKind::exact), dgate, dup};
  });
}

}  // namespace graft
