#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "graft/tensor/parallel.h"
#include "graft/tests/support/test.h"

namespace graft {

TEST_CASE("parallel_for: covers every index once, in the same blocks for any number of threads") {
  std::set<std::pair<int64_t, int64_t>> first;
  for (const int threads : {1, 2, 5}) {
    set_thread_count(threads);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> blocks;
    parallel_for(103, 10, [&](int64_t begin, int64_t end) {
      const std::lock_guard lock(mutex);
      CHECK(blocks.emplace(begin, end).second);
    });
    CHECK(blocks.size() == 11);
    CHECK(blocks.rbegin()->second == 103);
    if (first.empty())
      first = blocks;
    CHECK(blocks == first);
  }
  set_thread_count(2);
}

TEST_CASE("parallel_for: an exception reaches the caller, and the pool works afterwards") {
  for (int round = 0; round < 3; ++round) {
    CHECK_THROWS_AS(parallel_for(100, 1,
                                 [](int64_t begin, int64_t) {
                                   if (begin == 77)
                                     throw ConfigError("77");
                                 }),
                    ConfigError);
    std::atomic<int> calls{0};
    parallel_for(100, 1, [&](int64_t, int64_t) { ++calls; });
    CHECK(calls == 100);
  }
}

TEST_CASE("parallel_for: nested calls run in the same thread") {
  std::atomic<int> calls{0};
  parallel_for(8, 1,
               [&](int64_t, int64_t) { parallel_for(8, 1, [&](int64_t, int64_t) { ++calls; }); });
  CHECK(calls == 64);
}

TEST_CASE("parallel_for: nothing to do calls nothing; zero threads are refused") {
  parallel_for(0, 16, [](int64_t, int64_t) { FAIL("called"); });
  CHECK_THROWS_AS(set_thread_count(0), ConfigError);
}

}  // namespace graft
