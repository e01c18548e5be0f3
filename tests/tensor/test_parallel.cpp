#include <atomic>
#include <fstream>
#include <mutex>
#include <pthread.h>
#include <set>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "graft/tensor/parallel.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

/// While it lives, a thread takes 1 GiB of addresses and the process may take `bytes` more of them.
class FewAddresses {
 public:
  explicit FewAddresses(uint64_t bytes) {
    REQUIRE(pthread_getattr_default_np(&thread_before_) == 0);
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, size_t{1} << 30) == 0);
    REQUIRE(pthread_setattr_default_np(&attributes) == 0);
    uint64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    REQUIRE(getrlimit(RLIMIT_AS, &limit_before_) == 0);
    rlimit limit = limit_before_;
    limit.rlim_cur = pages * static_cast<uint64_t>(getpagesize()) + bytes;
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  }
  ~FewAddresses() {
    setrlimit(RLIMIT_AS, &limit_before_);
    pthread_setattr_default_np(&thread_before_);
  }
  FewAddresses(const FewAddresses&) = delete;

 private:
  pthread_attr_t thread_before_;
  rlimit limit_before_;
};

}  // namespace

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

TEST_CASE("set_thread_count: threads that cannot be started leave the pool as it was") {
  set_thread_count(2);
  {
    const FewAddresses addresses((uint64_t{7} << 30) / 2);
    test::check_contains(test::message_of<ConfigError>([] { set_thread_count(100); }),
                         "threads: 100 asked for, the system starts no more than 4 (");
  }
  CHECK(thread_count() == 2);
  std::atomic<int> calls{0};
  parallel_for(100, 1, [&](int64_t, int64_t) { ++calls; });
  CHECK(calls == 100);
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
