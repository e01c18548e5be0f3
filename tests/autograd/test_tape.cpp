#include "graft/autograd/checkpoint.h"
#include "graft/autograd/engine.h"
#include "graft/autograd/linear.h"
#include "graft/autograd/norm.h"
#include "graft/autograd/pointwise.h"
#include "graft/autograd/tape.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

Variable leaf(std::vector<float> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Variable(Tensor::from(values, {n}), true);
}

int64_t saved_bytes() {
  return allocator(cpu).stats().saved;
}

}  // namespace

TEST_CASE("tape: gradients of a variable used twice add up, and over calls too") {
  const Variable x = leaf({1, 2, 3});
  add(mul(x, x), x).backward();
  CHECK(x.grad().to_vector() == std::vector<double>{3, 5, 7});
  mul(x, x).backward();
  CHECK(x.grad().to_vector() == std::vector<double>{5, 9, 13});
}

TEST_CASE("tape: adding a variable's gradient in place touches nobody else's") {
  const Variable x = leaf({1, 2});
  const Variable y = leaf({3, 4});
  add(x, y).backward();  // both get the same tensor
  const Tensor of_y = y.grad();
  scale(x, 2).backward();
  CHECK(x.grad().to_vector() == std::vector<double>{3, 3});
  CHECK(of_y.to_vector() == std::vector<double>{1, 1});
}

TEST_CASE("tape: nothing is recorded without need, under NoGrad, or for frozen inputs") {
  const Variable x = leaf({1, 2});
  const Variable frozen(Tensor::full({2}, 1));
  CHECK_FALSE(mul(frozen, frozen).requires_grad());
  {
    const NoGrad no_grad;
    CHECK_FALSE(mul(x, x).requires_grad());
  }
  CHECK(mul(x, frozen).requires_grad());
  test::check_contains(test::message_of<Error>([&] { mul(frozen, frozen).backward(); }),
                       "no gradient was recorded");
}

TEST_CASE("tape: running backward twice over the same tape is refused") {
  const Variable x = leaf({1, 2});
  const Variable y = mul(x, x);
  y.backward();
  test::check_contains(test::message_of<Error>([&] { y.backward(); }), "already run backward");
}

TEST_CASE("tape: what backward keeps is counted once a storage, and freed by backward") {
  const int64_t before = saved_bytes();
  const Variable x = leaf(std::vector<float>(1000, 2));
  Variable y = mul(x, x);
  CHECK(saved_bytes() - before == 4000);
  Variable z = mul(y, x);
  CHECK(saved_bytes() - before == 8000);
  z.backward();
  CHECK(saved_bytes() == before);
}

TEST_CASE("tape: of a gated product its inputs are kept, which backward makes it of again") {
  const Variable gate(test::random_tensor({10, 8}, 1), true);
  const Variable up(test::random_tensor({10, 8}, 2), true);
  const Variable w(test::random_tensor({6, 8}, 3), true);
  const int64_t before = saved_bytes();
  const Variable y = linear(swiglu(gate, up), w, Variable());
  CHECK(saved_bytes() - before == 2 * 10 * 8 * 4);
  y.backward();
  CHECK(saved_bytes() == before);
  const Variable apart(ops::swiglu(gate.value(), up.value()));  // a leaf, which is kept
  const Variable v(w.value().clone(), true);
  linear(apart, v, Variable()).backward();
  CHECK(test::same_bits(w.grad(), v.grad()));
}

TEST_CASE("tape: what is made again has the bits of what it was") {
  const Variable x(test::random_tensor({7, 20}, 1), true);
  const Variable up(test::random_tensor({7, 20}, 2), true);
  const Variable weight(test::random_tensor({20}, 3), true);
  const Variable bias(test::random_tensor({20}, 4), true);
  for (const Variable& y :
       {rms_norm(x, weight, 1e-3, 0.5), layer_norm(x, weight, bias, 1e-3), swiglu(x, up),
        geglu(x, up, GeluKind::tanh), geglu(x, up, GeluKind::exact), gelu(x, GeluKind::tanh),
        gelu(x, GeluKind::exact)}) {
    REQUIRE(y.remade() != nullptr);
    CHECK(test::same_bits(*save(y), y.value()));
  }
  // What depends on such a value is kept: a chain would be made again from its beginning.
  CHECK(gelu(swiglu(x, up), GeluKind::tanh).remade() == nullptr);
}

TEST_CASE("tape: a value is made again once for all that saved it, and freed with the last") {
  int made = 0;
  Variable x = leaf({1, 2, 3});
  const int64_t before = allocator(cpu).stats().current;
  {
    Variable doubled = remake_in_backward(scale(x, 2), {x}, [&made, x = save(x)] {
      ++made;
      return ops::scale(*x, 2);
    });
    const Variable w = leaf({1, 1, 1});
    const Variable y = add(mul(doubled, w), mul(doubled, w));
    CHECK(made == 0);
    y.backward();
    CHECK(made == 1);
    CHECK(w.grad().to_vector() == std::vector<double>{4, 8, 12});
    CHECK(x.grad().to_vector() == std::vector<double>{4, 4, 4});
  }
  x.take_grad();
  CHECK(allocator(cpu).stats().current == before);
}

TEST_CASE("tape: a linear keeps no input for a frozen weight") {
  const int64_t before = saved_bytes();
  const Variable x(test::random_tensor({10, 8}, 1), true);
  const Variable w(test::random_tensor({6, 8}, 2));
  const Variable y = linear(x, w, Variable());
  CHECK(saved_bytes() == before);
  const Variable a(test::random_tensor({2, 8}, 3), true);
  const Variable b(test::random_tensor({6, 2}, 4), true);
  const LowRank term{a, b, 1, {}};
  const Variable adapted = linear(x, w, Variable(), {&term, 1});
  CHECK(saved_bytes() - before == 10 * 8 * 4 + 10 * 2 * 4);  // x and u = x aᵀ
}

TEST_CASE("tape: an operation with several outputs") {
  const Variable x = leaf({1, 2, 3, 4});
  const auto halves =
      record("test_split", {x.value().slice(0, 0, 2).clone(), x.value().slice(0, 2, 4).clone()},
             {x}, [](const Grads& dy, Needs) -> Grads {
               // Nobody used the first half.
               CHECK_FALSE(dy[0].defined());
               return {ops::concatenate(std::vector<Tensor>{Tensor::zeros({2}), dy[1]}, 0)};
             });
  halves[1].backward();
  CHECK(x.grad().to_vector() == std::vector<double>{0, 0, 1, 1});
}

TEST_CASE(
    "tape: a chain of 200,000 operations is built, run and freed without overflowing the stack") {
  const Variable x = leaf({1});
  Variable y = x;
  for (int i = 0; i < 200000; ++i)
    y = scale(y, 1);
  y.backward();
  CHECK(x.grad().item() == 1);
  Variable unused = x;
  for (int i = 0; i < 200000; ++i)
    unused = scale(unused, 1);
}

TEST_CASE("tape: a leaf stops and starts to require a gradient for all its handles") {
  Variable x = leaf({1, 2});
  const Variable handle = x;
  mul(x, x).backward();
  x.set_requires_grad(false);
  CHECK_FALSE(handle.requires_grad());
  CHECK_FALSE(handle.grad().defined());
  x.set_requires_grad(true);
  CHECK(handle.requires_grad());
  Variable y = mul(x, x);
  CHECK_THROWS_AS(y.set_requires_grad(false), Error);
  CHECK_THROWS_AS(y.set_value(Tensor::zeros({2})), Error);
}

TEST_CASE(
    "leaf_gradients: returns contributions and leaves the leaves alone, also through checkpoint") {
  const Variable x = leaf({1, 2});
  const Variable w = leaf({3, 4});
  const Variable y = checkpoint([w](const Variable& in) { return mul(in, w); }, x);
  const auto grads = leaf_gradients(y, Tensor::full({2}, 1));
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(w.grad().defined());
  REQUIRE(grads.size() == 2);
  for (const auto& [node, grad] : grads)
    CHECK(grad.to_vector() == (node == x.edge().node ? w : x).value().to_vector());
}

TEST_CASE("checkpoint: the same gradients, bit for bit, keeping only the input of the block") {
  const Variable w1(test::random_tensor({64, 64}, 1), true);
  const Variable w2(test::random_tensor({64, 64}, 2), true);
  const auto block = [&](const Variable& in) {
    const Variable hidden = linear(in, w1, Variable());
    return linear(swiglu(hidden, in), w2, Variable());
  };
  const auto run = [&](bool checkpointed) {
    Variable x(test::random_tensor({32, 64}, 3), true);
    const int64_t before = saved_bytes();
    const Variable y = checkpointed ? checkpoint(block, x) : block(x);
    const int64_t saved = saved_bytes() - before;
    y.backward();
    std::vector<Tensor> grads{x.take_grad()};
    for (Variable w : {w1, w2})
      grads.push_back(w.take_grad());
    return std::pair(saved, grads);
  };
  const auto [plain_bytes, plain] = run(false);
  const auto [checkpoint_bytes, checkpointed] = run(true);
  CHECK(checkpoint_bytes == 32 * 64 * 4);
  CHECK(plain_bytes > checkpoint_bytes);
  for (size_t i = 0; i < plain.size(); ++i)
    CHECK(test::same_bits(plain[i], checkpointed[i]));
}

}  // namespace graft
