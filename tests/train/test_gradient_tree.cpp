#include "graft/tensor/allocator.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/test.h"
#include "graft/train/gradient_tree.h"

namespace graft::train {
namespace {

Tensor leaf(size_t index) {
  return test::random_tensor({33}, index + 1);
}

/// The sum of leaves [begin, end): the largest power of two that is smaller, then the rest.
Tensor expected_sum(size_t begin, size_t end) {
  if (end - begin == 1)
    return leaf(begin);
  size_t half = 1;
  while (half * 2 < end - begin)
    half *= 2;
  return ops::add(expected_sum(begin, begin + half), expected_sum(begin + half, end));
}

}  // namespace

TEST_CASE("gradient tree: the order of additions depends on the number of leaves alone") {
  for (size_t leaves = 1; leaves <= 17; ++leaves) {
    GradientTree tree;
    for (size_t i = 0; i < leaves; ++i)
      tree.add({leaf(i)});
    const Grads sum = tree.take();
    REQUIRE(sum.size() == 1);
    CHECK_MESSAGE(test::same_bits(sum[0], expected_sum(0, leaves)), leaves, " leaves");
  }
}

TEST_CASE("gradient tree: the bits differ from a running sum, so the tree is really there") {
  GradientTree tree;
  Tensor running = leaf(0);
  tree.add({leaf(0)});
  for (size_t i = 1; i < 16; ++i) {
    tree.add({leaf(i)});
    running = ops::add(running, leaf(i));
  }
  CHECK_FALSE(test::same_bits(tree.take()[0], running));
}

TEST_CASE("gradient tree: memory grows with the logarithm of the number of leaves") {
  constexpr int64_t numbers = 1 << 16;
  const auto peak_of = [](int leaves) {
    allocator(cpu).reset_peak();
    const int64_t before = allocator(cpu).stats().current;
    GradientTree tree;
    for (int i = 0; i < leaves; ++i)
      tree.add({Tensor::full({numbers}, 1)});
    const Grads sum = tree.take();
    CHECK(sum[0].data<float>()[0] == static_cast<float>(leaves));
    return (allocator(cpu).stats().peak - before) / (numbers * 4);
  };
  CHECK(peak_of(64) <= 7);  // log2(64) + 1
}

TEST_CASE("gradient tree: missing gradients are zeros; an empty tree sums to nothing") {
  GradientTree tree;
  CHECK(tree.take().empty());
  tree.add({Tensor(), leaf(0), Tensor()});
  tree.add({leaf(1), Tensor(), Tensor()});
  const Grads sum = tree.take();
  CHECK(test::same_bits(sum[0], leaf(1)));
  CHECK(test::same_bits(sum[1], leaf(0)));
  CHECK_FALSE(sum[2].defined());
  CHECK(tree.take().empty());
}

TEST_CASE("gradient tree: leaves of different lengths are refused") {
  GradientTree tree;
  tree.add({leaf(0)});
  test::check_contains(test::message_of<ShapeError>([&] {
                         tree.add({leaf(0), leaf(1)});
                       }),
                       "2 gradients given after 1");
}

}  // namespace graft::train
