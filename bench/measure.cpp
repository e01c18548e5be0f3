#include "graft/bench/measure.h"

#include <ctime>

#include "benchmark/benchmark.h"

#include "graft/bench/peak.h"
#include "graft/tensor/isa.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/random.h"

namespace graft::bench {
namespace {

constexpr int64_t peak_rounds = 1 << 18;  // some milliseconds

double seconds() {
  timespec time{};
  clock_gettime(thread_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& body) {
  const double start = seconds();
  body();
  return seconds() - start;
}

/// FLOP/s of one of the loops of peak.h on all threads.
double peak_flops(bool in_bf16) {
  const bool pairs = in_bf16 && preferred_isa() == "avx512-bf16" && bf16_loop_flops(1) > 0;
  const double took = seconds_of([pairs] {
    parallel_for(thread_count(), 1, [pairs](int64_t, int64_t) {
      benchmark::DoNotOptimize(pairs ? bf16_loop(peak_rounds) : fma_loop(peak_rounds));
    });
  });
  const double flops = pairs ? bf16_loop_flops(peak_rounds) : fma_loop_flops(peak_rounds);
  return flops * thread_count() / took;
}

/// Bytes per second of reading `data` once on all threads.
double read_speed(const Tensor& data) {
  const int64_t count = data.nbytes() / static_cast<int64_t>(sizeof(float));
  const auto* x = static_cast<const float*>(data.as_view().data);
  const int64_t threads = thread_count();
  const double took = seconds_of([&] {
    parallel_for(threads, 1, [&](int64_t thread, int64_t) {
      const int64_t begin = count * thread / threads;
      benchmark::DoNotOptimize(read_loop(x + begin, count * (thread + 1) / threads - begin));
    });
  });
  return static_cast<double>(data.nbytes()) / took;
}

/// Runs the body; returns how much of `amount` per call it did in a second.
double rate_of(benchmark::State& state, double amount, const std::function<void()>& body) {
  const double took = seconds_of([&] {
    for (auto _ : state)
      body();
  });
  return amount * static_cast<double>(state.iterations()) / took;
}

}  // namespace

Tensor numbers(const Shape& shape, uint64_t stream, DType dtype) {
  return ops::normal(shape, 0, 1, 1, stream).to(dtype);
}

void run(benchmark::State& state, const Work& work, const std::function<void()>& body) {
  if (work.flops == 0) {
    state.counters["GB/s"] = 1e-9 * rate_of(state, static_cast<double>(work.bytes), body);
    return;
  }
  const double before = peak_flops(work.in_bf16);
  const double rate = rate_of(state, work.flops, body);
  const double peak = (before + peak_flops(work.in_bf16)) / 2;
  state.counters["GFLOP/s"] = 1e-9 * rate;
  state.counters["peak%"] = 100 * rate / peak;
}

void run_reading(benchmark::State& state, int64_t bytes, int64_t all_bytes,
                 const std::function<void()>& body) {
  const Tensor data = Tensor::full({all_bytes / int64_t{sizeof(float)}}, 1);
  const double before = read_speed(data);
  const double rate = rate_of(state, static_cast<double>(bytes), body);
  const double peak = (before + read_speed(data)) / 2;
  state.counters["GB/s"] = 1e-9 * rate;
  state.counters["read%"] = 100 * rate / peak;
}

}  // namespace graft::bench
