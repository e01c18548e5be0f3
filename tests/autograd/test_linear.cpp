#include <numeric>
#include <vector>

#include "graft/autograd/engine.h"
#include "graft/autograd/linear.h"
#include "graft/autograd/low_rank.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

using test::random_tensor;

/// The result of a product with adapter and bias, and the gradients of all that can have one.
template <class W>
std::vector<Tensor> run(const W& w) {
  const Variable x(random_tensor({2, 9, 64}, 1), true);
  const Variable bias(random_tensor({40}, 2), true);
  const Variable a(random_tensor({4, 64}, 3), true);
  const Variable b(random_tensor({40, 4}, 4), true);
  const LowRank plain{a, b, 0.5};
  std::vector<int64_t> rows(18);
  std::iota(rows.begin(), rows.end(), 0);
  const Tensor positions = Tensor::from(rows, {18});
  const LowRank dropped{
      a, b, 0.25, {.p = 0.3, .seed = 7, .sample = positions, .position = positions}};
  const Variable y = linear(x, w, bias, std::vector<LowRank>{plain, dropped});
  run_backward(y, random_tensor({2, 9, 40}, 5));
  return {y.value(), x.grad(), bias.grad(), a.grad(), b.grad()};
}

void check_close(const std::vector<Tensor>& results, const std::vector<Tensor>& expected) {
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    // f32 sums of up to 64 products in another order.
    CHECK(test::relative_difference(results[i], expected[i]) < 2e-6);
  }
}

}  // namespace

TEST_CASE("linear: a weight in panels gives the result and the gradients of the dense one") {
  const Tensor w = random_tensor({40, 64}, 6);
  check_close(run(pack(w)), run(Variable(w)));
}

TEST_CASE("linear: a 4-bit weight gives the result and the gradients of its numbers") {
  const quant::QuantizedTensor w = quant::quantize(random_tensor({40, 64}, 6), {});
  const std::vector<Tensor> expected = run(Variable(quant::dequantize(w, DType::f32)));
  check_close(run(w), expected);
  check_close(run(quant::to_panels(w)), expected);
}

TEST_CASE("low_rank: a term alone is what it adds to a product, also where x is bf16") {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Variable x(random_tensor({9, 64}, 1, dtype));
    const LowRank term{Variable(random_tensor({4, 64}, 3)), Variable(random_tensor({40, 4}, 4)),
                       0.5};
    const Variable zero(Tensor::zeros({40, 64}, dtype));
    const Variable sum = linear(x, zero, {}, std::vector<LowRank>{term});
    const Variable alone = low_rank(x, term);
    CHECK(alone.dtype() == dtype);
    // f32 sums in another order, one rounding to x's dtype.
    CHECK(test::relative_difference(alone.value(), sum.value()) <
          (dtype == DType::f32 ? 1e-6 : 0x1p-8));
  }
}

TEST_CASE("linear: a frozen kind keeps no input without an adapter") {
  const PackedTensor w = pack(random_tensor({40, 64}, 6));
  const Variable x(random_tensor({9, 64}, 1), true);
  const int64_t before = allocator(cpu).stats().saved;
  const Variable y = linear(x, w, Variable());
  CHECK(allocator(cpu).stats().saved == before);
}

}  // namespace graft
