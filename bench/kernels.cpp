// Kernels alone: each operation at the shapes of SmolLM2-135M, in FLOP/s or bytes/s.
//
//   build/release/bench/bench-kernels --benchmark_filter=linear
//
// "peak/fma" is what the vector units reach without memory, on all threads: the share of it is the
// figure to compare between machines.
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"

#include "graft/bench/peak.h"
#include "graft/tensor/attention.h"
#include "graft/tensor/cross_entropy.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/norm.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"

namespace graft {
namespace {

Tensor numbers(Shape shape, uint64_t stream) {
  return ops::normal(shape, 0, 1, 1, stream);
}

/// Sets the counters of a benchmark whose iteration does `flops` operations.
void count_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void count_bytes(benchmark::State& state, int64_t bytes) {
  state.SetBytesProcessed(state.iterations() * bytes);
}

/// The shapes of one token's products: in, out.
void linear_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "K", "N"});
  for (const int64_t m : {1, 16, 128, 512, 2048}) {
    bench->Args({m, 576, 576});
    bench->Args({m, 576, 1536});
    bench->Args({m, 1536, 576});
  }
  bench->Args({256, 576, 49152});
}

void linear(benchmark::State& state) {
  const int64_t m = state.range(0), k = state.range(1), n = state.range(2);
  const Tensor x = numbers({m, k}, 1);
  const Tensor w = numbers({n, k}, 2);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::linear(x, w, {}, {}, {}));
  count_flops(state, 2.0 * static_cast<double>(m * k * n));
}
BENCHMARK(linear)->Apply(linear_shapes)->UseRealTime();

void linear_with_adapter(benchmark::State& state) {
  constexpr int64_t rank = 16;
  const int64_t m = state.range(0), k = state.range(1), n = state.range(2);
  const Tensor x = numbers({m, k}, 1);
  const Tensor w = numbers({n, k}, 2);
  const Tensor a = numbers({rank, k}, 3);
  const Tensor b = numbers({n, rank}, 4);
  for (auto _ : state) {
    const Tensor u = ops::matmul(x, a.transpose(0, 1));
    benchmark::DoNotOptimize(ops::linear(x, w, {}, u, b));
  }
  count_flops(state, 2.0 * static_cast<double>(m * (k * n + rank * (k + n))));
}
BENCHMARK(linear_with_adapter)->Apply(linear_shapes)->UseRealTime();

void linear_backward(benchmark::State& state) {
  const int64_t m = state.range(0), k = state.range(1), n = state.range(2);
  const Tensor dy = numbers({m, n}, 1);
  const Tensor w = numbers({n, k}, 2);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::linear_backward(dy, w, {}, {}));
  count_flops(state, 2.0 * static_cast<double>(m * k * n));
}
BENCHMARK(linear_backward)->Apply(linear_shapes)->UseRealTime();

struct AttentionInputs {
  explicit AttentionInputs(int64_t length)
      : q(numbers({4, length, 9, 64}, 1)),
        k(numbers({4, length, 3, 64}, 2)),
        v(numbers({4, length, 3, 64}, 3)) {}
  /// Two products of the lower triangle.
  double flops() const {
    const auto length = static_cast<double>(q.dim(1));
    return 2 * 2 * 4 * 9 * 64 * length * (length + 1) / 2;
  }
  Tensor q, k, v;
};

void attention(benchmark::State& state) {
  const AttentionInputs in(state.range(0));
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::attention(in.q, in.k, in.v, {}, 0.125));
  count_flops(state, in.flops());
}
BENCHMARK(attention)->ArgName("T")->Arg(128)->Arg(512)->Arg(2048)->UseRealTime();

void attention_in_window(benchmark::State& state) {
  const AttentionInputs in(2048);
  const AttentionMask mask{.window = state.range(0)};
  const auto forward = ops::attention(in.q, in.k, in.v, mask, 0.125);
  for (auto _ : state) {
    benchmark::DoNotOptimize(ops::attention(in.q, in.k, in.v, mask, 0.125));
    benchmark::DoNotOptimize(ops::attention_backward(in.q, in.q, in.k, in.v, mask, 0.125, forward));
  }
}
BENCHMARK(attention_in_window)->ArgName("W")->Arg(0)->Arg(1024)->Arg(256)->UseRealTime();

void attention_backward(benchmark::State& state) {
  const AttentionInputs in(state.range(0));
  const auto forward = ops::attention(in.q, in.k, in.v, {}, 0.125);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::attention_backward(in.q, in.q, in.k, in.v, {}, 0.125, forward));
  count_flops(state, 2.5 * in.flops());
}
BENCHMARK(attention_backward)->ArgName("T")->Arg(128)->Arg(512)->Arg(2048)->UseRealTime();

void rms_norm(benchmark::State& state) {
  const Tensor x = numbers({2048, 576}, 1);
  const Tensor weight = numbers({576}, 2);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::rms_norm(x, weight, 1e-5));
  count_bytes(state, 2 * x.nbytes());
}
BENCHMARK(rms_norm)->UseRealTime();

void layer_norm(benchmark::State& state) {
  const Tensor x = numbers({2048, 576}, 1);
  const Tensor weight = numbers({576}, 2);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::layer_norm(x, weight, weight, 1e-5));
  count_bytes(state, 2 * x.nbytes());
}
BENCHMARK(layer_norm)->UseRealTime();

void swiglu(benchmark::State& state) {
  const Tensor gate = numbers({2048, 1536}, 1);
  const Tensor up = numbers({2048, 1536}, 2);
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::swiglu(gate, up));
  count_bytes(state, 3 * gate.nbytes());
}
BENCHMARK(swiglu)->UseRealTime();

void geglu(benchmark::State& state) {
  const Tensor gate = numbers({2048, 1536}, 1);
  const Tensor up = numbers({2048, 1536}, 2);
  const auto kind = static_cast<GeluKind>(state.range(0));
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::geglu(gate, up, kind));
  count_bytes(state, 3 * gate.nbytes());
}
BENCHMARK(geglu)->ArgName("tanh")->Arg(0)->Arg(1)->UseRealTime();

void gelu(benchmark::State& state) {
  const Tensor x = numbers({2048, 2048}, 1);
  const auto kind = static_cast<GeluKind>(state.range(0));
  for (auto _ : state)
    benchmark::DoNotOptimize(ops::gelu(x, kind));
  count_bytes(state, 2 * x.nbytes());
}
BENCHMARK(gelu)->ArgName("tanh")->Arg(0)->Arg(1)->UseRealTime();

void cross_entropy(benchmark::State& state) {
  const Tensor logits = numbers({256, 49152}, 1);
  const Tensor labels = Tensor::full({256}, 7, DType::i64);
  for (auto _ : state) {
    Tensor chunk = logits.clone();
    benchmark::DoNotOptimize(ops::cross_entropy_(chunk, labels, true));
  }
  count_bytes(state, 4 * logits.nbytes());
}
BENCHMARK(cross_entropy)->UseRealTime();

void peak_fma(benchmark::State& state) {
  for (auto _ : state) {
    parallel_for(thread_count(), 1,
                 [](int64_t, int64_t) { benchmark::DoNotOptimize(bench::fma_loop(1 << 20)); });
  }
  count_flops(state, bench::fma_loop_flops(1 << 20) * thread_count());
}
BENCHMARK(peak_fma)->Name("peak/fma")->UseRealTime();

}  // namespace
}  // namespace graft

BENCHMARK_MAIN();
