#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include "graft/tests/support/test.h"
#include "graft/train/sampler.h"

namespace graft::train {
namespace {

/// The indices of a whole epoch, drawn three at a time.
std::vector<int64_t> epoch_of(Sampler& sampler, int64_t samples) {
  std::vector<int64_t> indices;
  while (static_cast<int64_t>(indices.size()) < samples) {
    for (const int64_t index : sampler.next(3))
      indices.push_back(index);
  }
  return indices;
}

}  // namespace

TEST_CASE("sampler: every epoch has each sample once, in an order of its own") {
  constexpr int64_t samples = 50;
  Sampler sampler(samples, 7, true);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    std::vector<int64_t> order = epoch_of(sampler, samples);
    orders.insert(order);
    std::ranges::sort(order);
    for (int64_t i = 0; i < samples; ++i)
      CHECK(order[static_cast<size_t>(i)] == i);
  }
  CHECK(orders.size() == 5);
}

TEST_CASE("sampler: the seed decides; without shuffling the order is that of the list") {
  Sampler a(20, 1, true), same(20, 1, true), other(20, 2, true), plain(20, 1, false);
  const std::vector<int64_t> order = epoch_of(a, 20);
  CHECK(epoch_of(same, 20) == order);
  CHECK(epoch_of(other, 20) != order);
  const std::vector<int64_t> listed = epoch_of(plain, 20);
  CHECK(std::ranges::is_sorted(listed));
  CHECK(epoch_of(plain, 20) == listed);
}

TEST_CASE("sampler: every order is about equally likely") {
  // 6 orders of 3 samples over 6000 epochs: binomial with deviation 28.9; five of them.
  std::map<std::vector<int64_t>, int> counts;
  Sampler sampler(3, 11, true);
  for (int epoch = 0; epoch < 6000; ++epoch)
    ++counts[epoch_of(sampler, 3)];
  CHECK(counts.size() == 6);
  for (const auto& [order, count] : counts)
    CHECK(std::abs(count - 1000) < 145);
}

TEST_CASE("sampler: a draw ends with its epoch, and the next one begins the following") {
  Sampler sampler(5, 0, false);
  CHECK(sampler.next(3) == std::vector<int64_t>{0, 1, 2});
  CHECK(sampler.next(3) == std::vector<int64_t>{3, 4});
  CHECK(sampler.state() == SamplerState{0, 5});
  CHECK(sampler.next(2) == std::vector<int64_t>{0, 1});
  CHECK(sampler.state() == SamplerState{1, 2});
}

TEST_CASE("sampler: from any state it goes on as if it had never stopped") {
  Sampler sampler(7, 3, true);
  for (int draw = 0; draw < 12; ++draw) {
    Sampler copy(7, 3, true, sampler.state());
    CHECK(copy.next(2) == sampler.next(2));
    CHECK(copy.state() == sampler.state());
  }
}

TEST_CASE("sampler: no samples and impossible states are refused") {
  test::check_contains(test::message_of<ConfigError>([] { Sampler(0, 1, true); }),
                       "no samples given");
  test::check_contains(
      test::message_of<ConfigError>([] { Sampler(5, 1, true, {.epoch = 0, .position = 6}); }),
      "position 6 of epoch 0 given for 5 samples");
}

}  // namespace graft::train
