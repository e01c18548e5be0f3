// Attention at the shapes of SmolLM2-135M: 4 rows, 9 query and 3 key heads of 64.
#include "graft/tensor/attention.h"

#include "benchmark/benchmark.h"

#include "graft/bench/measure.h"

namespace graft::bench {
namespace {

struct AttentionInputs {
  explicit AttentionInputs(int64_t length)
      : q(numbers({4, length, 9, 64}, 1)),
        k(numbers({4, length, 3, 64}, 2)),
        v(numbers({4, length, 3, 64}, 3)) {}
  /// Two products of what the queries see: the last `window` keys, or all before them.
  double flops(int64_t window = 0) const {
    const int64_t length = q.dim(1);
    const int64_t full = window == 0 ? length : window;
    const int64_t seen = full * (full + 1) / 2 + (length - full) * full;
    return 2.0 * 2.0 * static_cast<double>(4 * 9 * 64 * seen);
  }
  Tensor q, k, v;
};

void attention(benchmark::State& state) {
  const AttentionInputs in(state.range(0));
  run(state, {.flops = in.flops()},
      [&] { benchmark::DoNotOptimize(ops::attention(in.q, in.k, in.v, {}, 0.125)); });
}
BENCHMARK(attention)->ArgName("T")->Arg(128)->Arg(512)->Arg(2048)->UseRealTime();

void attention_in_window(benchmark::State& state) {
  const AttentionInputs in(2048);
  const AttentionMask mask{.window = state.range(0)};
  const auto forward = ops::attention(in.q, in.k, in.v, mask, 0.125);
  run(state, {.flops = 3.5 * in.flops(mask.window)}, [&] {
    benchmark::DoNotOptimize(ops::attention(in.q, in.k, in.v, mask, 0.125));
    benchmark::DoNotOptimize(ops::attention_backward(in.q, in.q, in.k, in.v, mask, 0.125, forward));
  });
}
BENCHMARK(attention_in_window)->ArgName("W")->Arg(0)->Arg(1024)->Arg(256)->UseRealTime();

void attention_backward(benchmark::State& state) {
  const AttentionInputs in(state.range(0));
  const auto forward = ops::attention(in.q, in.k, in.v, {}, 0.125);
  run(state, {.flops = 2.5 * in.flops()}, [&] {
    benchmark::DoNotOptimize(ops::attention_backward(in.q, in.q, in.k, in.v, {}, 0.125, forward));
  });
}
BENCHMARK(attention_backward)->ArgName("T")->Arg(128)->Arg(512)->Arg(2048)->UseRealTime();

}  // namespace
}  // namespace graft::bench
