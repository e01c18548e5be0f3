#include <cmath>

#include "graft/tensor/dropout.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

DropoutKey key_for(std::vector<int64_t> sample, std::vector<int64_t> position) {
  const auto rows = static_cast<int64_t>(sample.size());
  return {.p = 0.3,
          .seed = 7,
          .step = 2,
          .module = 5,
          .sample = Tensor::from(sample, {rows}),
          .position = Tensor::from(position, {rows})};
}

}  // namespace

TEST_CASE("dropout: zeroes about p of the elements and scales the others by 1 / (1 - p)") {
  const Tensor x = Tensor::full({1, 100001}, 1);
  const Tensor y = ops::dropout(x, key_for({0}, {0}));
  int64_t zeros = 0;
  for (const float value : y.span<float>()) {
    zeros += value == 0;
    CHECK((value == 0 || value == doctest::Approx(1 / 0.7)));
  }
  // Binomial: the standard deviation of the share is 0.00145; 5 of them.
  CHECK(std::fabs(static_cast<double>(zeros) / 100001 - 0.3) < 0.0073);
}

TEST_CASE("dropout: the mask of a token depends on its sample and position, not on its row") {
  const Tensor x = test::random_tensor({3, 10}, 1);
  const Tensor y = ops::dropout(x, key_for({4, 4, 9}, {0, 1, 0}));
  const Tensor alone = ops::dropout(x.slice(0, 1, 2), key_for({4}, {1}));
  CHECK(test::same_bits(y.slice(0, 1, 2), alone));
  const Tensor other = ops::dropout(x.slice(0, 1, 2), key_for({4}, {2}));
  CHECK_FALSE(test::same_bits(alone, other));
}

TEST_CASE("dropout: seed, step and module each change the mask") {
  const Tensor x = Tensor::full({1, 64}, 1);
  const DropoutKey key = key_for({0}, {0});
  const Tensor y = ops::dropout(x, key);
  DropoutKey seed = key, step = key, module = key;
  seed.seed = 8;
  step.step = 3;
  module.module = 6;
  for (const DropoutKey& other : {seed, step, module})
    CHECK_FALSE(test::same_bits(ops::dropout(x, other), y));
}

TEST_CASE("dropout: p = 0 gives x itself; a key without samples is refused") {
  const Tensor x = Tensor::full({2, 3}, 1);
  CHECK(ops::dropout(x, {}).storage() == x.storage());
  test::check_contains(
      test::message_of<Error>([&] { ops::dropout(x, {.p = 0.5, .sample = {}, .position = {}}); }),
      "does not say which sample");
}

}  // namespace graft
