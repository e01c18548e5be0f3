#include "graft/tensor/parallel.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
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

  /// Runs job(rank) on ranks 0 (the caller) to workers, and waits for all.
  void run(const std::function<void(int)>& job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = &job;
      error_ = nullptr;
      pending_ = static_cast<int>(threads_.size());
      ++generation_;
    }
    wake_.notify_all();
    execute(job, 0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return pending_ == 0; });
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
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
        if (stop_)
          return;
        seen = generation_;
        job = job_;
      }
      execute(*job, rank);
      const std::lock_guard lock(mutex_);
      if (--pending_ == 0)
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
  const std::function<void(int)>* job_ = nullptr;
  std::exception_ptr error_;
  uint64_t generation_ = 0;
  int pending_ = 0;
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
  const auto run_blocks = [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block)
      body(block * grain, std::min(n, (block + 1) * grain));
  };
  std::unique_lock lock(pool().in_use, std::defer_lock);
  if (blocks <= 1 || inside_parallel_for || pool().threads->size() == 1 || !lock.try_lock())
    return run_blocks(0, blocks);
  const int64_t threads = pool().threads->size();
  pool().threads->run(
      [&](int rank) { run_blocks(blocks * rank / threads, blocks * (rank + 1) / threads); });
}

}  // namespace graft
