#include "graft/tensor/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <sched.h>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "graft/tensor/error.h"

namespace graft {
namespace {

/// True on a pool thread and, during a call, on the calling thread: no nested parallelism.
thread_local bool inside_parallel_for = false;

int available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// How long a thread looks for what it waits for before it lets the system wake it: about as long
/// as waking takes. The operations of a step follow one another closer than that.
constexpr std::chrono::microseconds spin_time{50};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Looks at `ready` for a while; false where it did not come true.
template <class Ready>
bool spin_until(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (ready())
        return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

/// The blocks that one thread begins with. Whoever has done its own takes from those of others, so
/// that a thread whose processor does something else besides does not hold up all.
class Share {
 public:
  Share(int64_t begin, int64_t end) : next_(begin), end_(end) {}

  /// The next block that nobody has taken.
  std::optional<int64_t> take() {
    const int64_t block = next_.fetch_add(1, std::memory_order_relaxed);
    return block < end_ ? std::optional(block) : std::nullopt;
  }

 private:
  alignas(64) std::atomic<int64_t> next_;
  int64_t end_;
};

/// Threads that wait for one job at a time. The job is the same for all; each knows its rank.
class ThreadPool {
 public:
  /// Throws ConfigError where the system does not start that many.
  explicit ThreadPool(int workers) {
    threads_.reserve(static_cast<size_t>(workers));
    try {
      for (int rank = 1; rank <= workers; ++rank)
        threads_.emplace_back([this, rank] { serve(rank); });
    } catch (const std::system_error& error) {
      stop();
      throw ConfigError(concat("threads: ", workers + 1,
                               " asked for, the system starts no more than ", size(), " (",
                               error.code().message(), "); ask for fewer"));
    }
  }

  ~ThreadPool() { stop(); }

  /// Runs job(rank) on rank 0 (the caller) and those workers that come to it before the caller is
  /// through, and waits for these: a worker that the system does not wake in time holds up nobody.
  void run(const std::function<void(int)>& job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      error_ = nullptr;
      ++generation_;
    }
    wake_.notify_all();
    execute(job, 0);
    {
      const std::lock_guard lock(mutex_);
      job_ = nullptr;
    }
    const auto all_done = [this] { return active_ == 0; };
    spin_until(all_done);
    std::unique_lock lock(mutex_);
    done_.wait(lock, all_done);
    if (error_)
      std::rethrow_exception(std::exchange(error_, nullptr));
  }

  int size() const { return static_cast<int>(threads_.size()) + 1; }

 private:
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_)
      thread.join();
  }

  void serve(int rank) {
    uint64_t seen = 0;
    for (;;) {
      const std::function<void(int)>* job = nullptr;
      spin_until([&] { return generation_ != seen; });
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
        if (stop_)
          return;
        seen = generation_;
        job = job_;
        if (job == nullptr)
          continue;
        ++active_;
      }
      execute(*job, rank);
      const std::lock_guard lock(mutex_);
      if (--active_ == 0)
        done_.notify_one();
    }
  }

  void execute(const std::function<void(int)>& job, int rank) {
    inside_parallel_for = true;
    try {
      job(rank);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_)
        error_ = std::current_exception();
    }
    inside_parallel_for = false;
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* job_ = nullptr;  // nullptr where there is nothing to begin
  std::exception_ptr error_;
  // Changed under the mutex, looked at without it too.
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> active_{0};  // workers in the job
  bool stop_ = false;
};

struct Pool {
  std::mutex in_use;  // one parallel_for at a time; a second caller runs serially
  std::unique_ptr<ThreadPool> threads = std::make_unique<ThreadPool>(available_processors() - 1);
};

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_thread_count(int count) {
  GRAFT_CHECK(count >= 1 && count <= 1024, ConfigError, "threads: ", count,
              " given, 1 to 1024 expected");
  const std::lock_guard lock(pool().in_use);
  if (pool().threads->size() != count)
    pool().threads = std::make_unique<ThreadPool>(count - 1);
}

int thread_count() {
  return pool().threads->size();
}

void parallel_for(int64_t n, int64_t grain,
                  const std::function<void(int64_t begin, int64_t end)>& body) {
  const int64_t blocks = (n + grain - 1) / grain;
  const auto run_block = [&](int64_t block) {
    body(block * grain, std::min(n, (block + 1) * grain));
  };
  std::unique_lock lock(pool().in_use, std::defer_lock);
  if (blocks <= 1 || inside_parallel_for || pool().threads->size() == 1 || !lock.try_lock()) {
    for (int64_t block = 0; block < blocks; ++block)
      run_block(block);
    return;
  }
  const int threads = pool().threads->size();
  std::deque<Share> shares;
  for (int64_t rank = 0; rank < threads; ++rank)
    shares.emplace_back(blocks * rank / threads, blocks * (rank + 1) / threads);
  pool().threads->run([&](int rank) {
    for (int i = 0; i < threads; ++i) {
      Share& share = shares[static_cast<size_t>((rank + i) % threads)];
      while (const std::optional<int64_t> block = share.take())
        run_block(*block);
    }
  });
}

}  // namespace graft
