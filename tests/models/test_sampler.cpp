#include <cmath>
#include <limits>
#include <map>

#include "graft/models/sampler.h"
#include "graft/tests/support/test.h"

namespace graft::models {
namespace {

/// How often each token is picked over many steps.
std::map<int64_t, double> frequencies(const GenerateOptions& options,
                                      const std::vector<float>& logits) {
  Sampler sampler(options);
  constexpr int64_t steps = 20000;
  std::map<int64_t, double> counts;
  for (int64_t step = 0; step < steps; ++step)
    counts[sampler.pick(logits, 0, step)] += 1.0 / steps;
  return counts;
}

/// 20000 draws: a frequency of 0.5 has a standard deviation of 0.0035.
constexpr double tolerance = 0.015;

const std::vector<float> logits{std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};

}  // namespace

TEST_CASE("sampler: frequencies are the probabilities") {
  auto seen = frequencies({.temperature = 1}, logits);
  const double expected[] = {0.1, 0.4, 0.2, 0.3};
  for (int64_t id = 0; id < 4; ++id)
    CHECK(std::fabs(seen[id] - expected[id]) < tolerance);
}

TEST_CASE("sampler: temperature divides logits, before top_p sees them") {
  auto seen = frequencies({.temperature = 0.5}, logits);
  CHECK(std::fabs(seen[1] - 0.16 / 0.30) < tolerance);
  // At 0.5 the two likeliest have 0.53 + 0.3 = 0.83 >= 0.8; at 1 it would take three.
  seen = frequencies({.temperature = 0.5, .top_p = 0.8}, logits);
  CHECK(seen.size() == 2);
  CHECK(std::fabs(seen[1] - 0.16 / 0.25) < tolerance);
}

TEST_CASE("sampler: top_k keeps k tokens and all that equal the k-th") {
  auto seen = frequencies({.temperature = 1, .top_k = 2}, logits);
  CHECK(seen.size() == 2);
  CHECK(std::fabs(seen[1] - 4.0 / 7) < tolerance);
  CHECK(frequencies({.temperature = 1, .top_k = 2}, {1, 0, 1, 1}).size() == 3);
  CHECK(frequencies({.temperature = 1, .top_k = 100}, logits).size() == 4);
}

TEST_CASE("sampler: top_p keeps the fewest tokens that reach it, at least one") {
  CHECK(frequencies({.temperature = 1, .top_p = 0.39}, logits).size() == 1);
  CHECK(frequencies({.temperature = 1, .top_p = 0.41}, logits).size() == 2);
  CHECK(frequencies({.temperature = 1, .top_p = 0.71}, logits).size() == 3);
  CHECK(frequencies({.temperature = 1, .top_p = 1e-9}, logits).size() == 1);
  // top_k comes first: of the two that stay, one has 0.57 of the probability.
  CHECK(frequencies({.temperature = 1, .top_k = 2, .top_p = 0.5}, logits).size() == 1);
}

TEST_CASE("sampler: greedy takes the first of the largest") {
  Sampler sampler({.temperature = 0});
  CHECK(sampler.pick(std::vector<float>{1, 3, 2, 3}, 0, 0) == 1);
}

TEST_CASE("sampler: a pick is a function of seed, row and step") {
  const std::vector<float> even(1000, 0.0f);
  const auto pick = [&](uint64_t seed, int64_t row, int64_t step, int64_t first_row = 0) {
    return Sampler({.temperature = 1, .seed = seed, .first_row = first_row}).pick(even, row, step);
  };
  CHECK(pick(1, 2, 3) == pick(1, 2, 3));
  CHECK(pick(1, 2, 3) == pick(1, 0, 3, 2));
  CHECK(pick(1, 2, 3) != pick(2, 2, 3));
  CHECK(pick(1, 2, 3) != pick(1, 3, 3));
  CHECK(pick(1, 2, 3) != pick(1, 2, 4));
}

TEST_CASE("sampler: logits that are not finite are refused") {
  Sampler sampler({.temperature = 1});
  const std::vector<float> broken{0, std::numeric_limits<float>::quiet_NaN()};
  test::check_contains(test::message_of<NonFiniteError>([&] { sampler.pick(broken, 3, 5); }),
                       "the logits of row 3 at step 5 are not finite");
}

}  // namespace graft::models
