// Products with the weights of a layer: as they are loaded, in panels, and in 4 bits.
//
//   build/release/bench/bench-kernels --threads=1 --benchmark_filter=panels
#include <iterator>
#include <vector>

#include "benchmark/benchmark.h"

#include "graft/bench/measure.h"
#include "graft/quant/linear.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/packed_tensor.h"

namespace graft::bench {
namespace {

/// M tokens through a layer (out, in) = (N,K).
struct Sizes {
  int64_t m, k, n;
  double flops() const { return 2.0 * static_cast<double>(m * k * n); }
};

Sizes sizes_of(const benchmark::State& state) {
  return {state.range(0), state.range(1), state.range(2)};
}

/// The layers of SmolLM2-135M, and a square one of a model of a billion parameters.
void layer_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "K", "N"})->UseRealTime();
  for (const int64_t m : {16, 128, 512, 2048}) {
    bench->Args({m, 576, 1536});
    bench->Args({m, 1536, 576});
    bench->Args({m, 2048, 2048});
  }
}

void one_token_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgName("K=N")->Arg(2048)->Arg(4096)->UseRealTime();
}

/// How a weight is held, and what x and y are.
enum class Held { f32, bf16, nf4_f32, nf4_bf16 };

constexpr bool in_bf16(Held held) {
  return held == Held::bf16 || held == Held::nf4_bf16;
}
constexpr DType dtype_of(Held held) {
  return in_bf16(held) ? DType::bf16 : DType::f32;
}

/// w (N,K) as it is held.
template <Held held>
auto weight(const Tensor& w) {
  if constexpr (held == Held::f32 || held == Held::bf16) {
    return pack(w.to(dtype_of(held)));
  } else {
    quant::QuantizedTensor result = quant::to_panels(quant::quantize(w, {.double_quant = false}));
    result.compute = dtype_of(held);
    return result;
  }
}

int64_t bytes_of(const PackedTensor& w) {
  return w.panels.nbytes();
}
int64_t bytes_of(const quant::QuantizedTensor& w) {
  return w.nbytes();
}

template <Held held>
void forward(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor x = numbers({sizes.m, sizes.k}, 1, dtype_of(held));
  const auto w = weight<held>(numbers({sizes.n, sizes.k}, 2));
  run(state, {.flops = sizes.flops(), .in_bf16 = in_bf16(held)},
      [&] { benchmark::DoNotOptimize(ops::linear(x, w, {}, {}, {})); });
}

template <Held held>
void backward(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor dy = numbers({sizes.m, sizes.n}, 1, dtype_of(held));
  const auto w = weight<held>(numbers({sizes.n, sizes.k}, 2));
  run(state, {.flops = sizes.flops(), .in_bf16 = in_bf16(held)},
      [&] { benchmark::DoNotOptimize(ops::linear_backward(dy, w, {}, {})); });
}

/// One token through more layers, one after the other, than fit into the caches.
template <Held held>
void one_token(benchmark::State& state) {
  constexpr int64_t all_bytes = int64_t{256} << 20;
  const int64_t size = state.range(0);
  const Tensor x = numbers({1, size}, 1, dtype_of(held));
  const Tensor w = numbers({size, size}, 2);
  std::vector layers{weight<held>(w)};
  const int64_t bytes = bytes_of(layers[0]);
  while (std::ssize(layers) * bytes < all_bytes)
    layers.push_back(weight<held>(w));
  size_t turn = 0;
  run_reading(state, bytes, all_bytes, [&] {
    benchmark::DoNotOptimize(ops::linear(x, layers[turn++ % layers.size()], {}, {}, {}));
  });
}

BENCHMARK(forward<Held::f32>)->Name("panels/f32")->Apply(layer_shapes);
BENCHMARK(forward<Held::bf16>)->Name("panels/bf16")->Apply(layer_shapes);
BENCHMARK(forward<Held::nf4_f32>)->Name("panels/nf4")->Apply(layer_shapes);
BENCHMARK(forward<Held::nf4_bf16>)->Name("panels/nf4_bf16")->Apply(layer_shapes);
BENCHMARK(backward<Held::f32>)->Name("panels_backward/f32")->Apply(layer_shapes);
BENCHMARK(backward<Held::bf16>)->Name("panels_backward/bf16")->Apply(layer_shapes);
BENCHMARK(backward<Held::nf4_f32>)->Name("panels_backward/nf4")->Apply(layer_shapes);
BENCHMARK(backward<Held::nf4_bf16>)->Name("panels_backward/nf4_bf16")->Apply(layer_shapes);
BENCHMARK(one_token<Held::f32>)->Name("one_token/f32")->Apply(one_token_shapes);
BENCHMARK(one_token<Held::bf16>)->Name("one_token/bf16")->Apply(one_token_shapes);
BENCHMARK(one_token<Held::nf4_f32>)->Name("one_token/nf4")->Apply(one_token_shapes);
BENCHMARK(one_token<Held::nf4_bf16>)->Name("one_token/nf4_bf16")->Apply(one_token_shapes);

/// The shapes of one token's products: in, out.
void linear_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "K", "N"})->UseRealTime();
  for (const int64_t m : {1, 16, 128, 512, 2048}) {
    bench->Args({m, 576, 576});
    bench->Args({m, 576, 1536});
    bench->Args({m, 1536, 576});
  }
  bench->Args({256, 576, 49152});
}

void linear(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor x = numbers({sizes.m, sizes.k}, 1);
  const Tensor w = numbers({sizes.n, sizes.k}, 2);
  run(state, {.flops = sizes.flops()},
      [&] { benchmark::DoNotOptimize(ops::linear(x, w, {}, {}, {})); });
}
BENCHMARK(linear)->Apply(linear_shapes);

void linear_backward(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor dy = numbers({sizes.m, sizes.n}, 1);
  const Tensor w = numbers({sizes.n, sizes.k}, 2);
  run(state, {.flops = sizes.flops()},
      [&] { benchmark::DoNotOptimize(ops::linear_backward(dy, w, {}, {})); });
}
BENCHMARK(linear_backward)->Apply(linear_shapes);

/// Forward of a layer in panels with an adapter of rank 16.
void linear_with_adapter(benchmark::State& state) {
  constexpr int64_t rank = 16;
  const Sizes sizes = sizes_of(state);
  const Tensor x = numbers({sizes.m, sizes.k}, 1);
  const PackedTensor w = pack(numbers({sizes.n, sizes.k}, 2));
  const Tensor a = numbers({rank, sizes.k}, 3);
  const Tensor b = numbers({sizes.n, rank}, 4);
  const double adapter_flops = 2.0 * static_cast<double>(sizes.m * rank * (sizes.k + sizes.n));
  run(state, {.flops = sizes.flops() + adapter_flops}, [&] {
    const Tensor u = ops::matmul(x, a.transpose(0, 1));
    benchmark::DoNotOptimize(ops::linear(x, w, {}, u, b));
  });
}
BENCHMARK(linear_with_adapter)->Apply(layer_shapes);

/// The products of an adapter's factors alone, of M tokens with K numbers and rank R: x aᵀ and gᵀ x.
void factor_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"M", "K", "R"})->UseRealTime();
  for (const int64_t rank : {4, 16, 64, 128}) {
    bench->Args({2048, 576, rank});
    bench->Args({2048, 1536, rank});
  }
}

void factor(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor x = numbers({sizes.m, sizes.k}, 1);
  const Tensor a = numbers({sizes.n, sizes.k}, 2);
  run(state, {.flops = sizes.flops()},
      [&] { benchmark::DoNotOptimize(ops::matmul(x, a.transpose(0, 1))); });
}
BENCHMARK(factor)->Apply(factor_shapes);

void factor_gradient(benchmark::State& state) {
  const Sizes sizes = sizes_of(state);
  const Tensor x = numbers({sizes.m, sizes.k}, 1);
  const Tensor g = numbers({sizes.m, sizes.n}, 2);
  run(state, {.flops = sizes.flops()},
      [&] { benchmark::DoNotOptimize(ops::matmul(g.transpose(0, 1), x)); });
}
BENCHMARK(factor_gradient)->Apply(factor_shapes);

}  // namespace
}  // namespace graft::bench
