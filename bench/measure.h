// What the benchmarks share: inputs, and rates beside what the processor can reach.
//
// The peak is measured for a few milliseconds before and after each benchmark, in the same process
// and on as many threads, because clocks drift: "peak%" is a share of the mean of both. With one
// thread the processor time of that thread counts, so that other work on the machine is left out;
// with more it is the time on the wall.
#pragma once

#include <cstdint>
#include <functional>

#include "graft/tensor/tensor.h"

namespace benchmark {
class State;
}

namespace graft::bench {

/// Normal random numbers, the same ones for the same stream.
Tensor numbers(const Shape& shape, uint64_t stream, DType dtype = DType::f32);

/// What one call of a benchmark's body does at least.
struct Work {
  double flops = 0;
  int64_t bytes = 0;
  bool in_bf16 = false;  ///< multiplied by products of bf16 where kernels use them
};

/// Runs the body as often as the state wants and sets its counters: GFLOP/s and their share of the
/// peak, or GB/s.
void run(benchmark::State& state, const Work& work, const std::function<void()>& body);

/// As run, for a body that reads `bytes` from memory: GB/s and their share of what a plain read of
/// `all_bytes`, more than the caches hold, reaches.
void run_reading(benchmark::State& state, int64_t bytes, int64_t all_bytes,
                 const std::function<void()>& body);

}  // namespace graft::bench
