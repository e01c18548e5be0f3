// What works row by row or number by number, at the shapes of 2,048 tokens of SmolLM2-135M, in
// bytes read and written.
#include "benchmark/benchmark.h"

#include "graft/bench/measure.h"
#include "graft/tensor/cross_entropy.h"
#include "graft/tensor/norm.h"
#include "graft/tensor/pointwise.h"

namespace graft::bench {
namespace {

void rms_norm(benchmark::State& state) {
  const Tensor x = numbers({2048, 576}, 1);
  const Tensor weight = numbers({576}, 2);
  run(state, {.bytes = 2 * x.nbytes()},
      [&] { benchmark::DoNotOptimize(ops::rms_norm(x, weight, 1e-5)); });
}
BENCHMARK(rms_norm)->UseRealTime();

void layer_norm(benchmark::State& state) {
  const Tensor x = numbers({2048, 576}, 1);
  const Tensor weight = numbers({576}, 2);
  run(state, {.bytes = 2 * x.nbytes()},
      [&] { benchmark::DoNotOptimize(ops::layer_norm(x, weight, weight, 1e-5)); });
}
BENCHMARK(layer_norm)->UseRealTime();

void swiglu(benchmark::State& state) {
  const Tensor gate = numbers({2048, 1536}, 1);
  const Tensor up = numbers({2048, 1536}, 2);
  run(state, {.bytes = 3 * gate.nbytes()},
      [&] { benchmark::DoNotOptimize(ops::swiglu(gate, up)); });
}
BENCHMARK(swiglu)->UseRealTime();

void geglu(benchmark::State& state) {
  const Tensor gate = numbers({2048, 1536}, 1);
  const Tensor up = numbers({2048, 1536}, 2);
  const auto kind = static_cast<GeluKind>(state.range(0));
  run(state, {.bytes = 3 * gate.nbytes()},
      [&] { benchmark::DoNotOptimize(ops::geglu(gate, up, kind)); });
}
BENCHMARK(geglu)->ArgName("tanh")->Arg(0)->Arg(1)->UseRealTime();

void gelu(benchmark::State& state) {
  const Tensor x = numbers({2048, 2048}, 1);
  const auto kind = static_cast<GeluKind>(state.range(0));
  run(state, {.bytes = 2 * x.nbytes()}, [&] { benchmark::DoNotOptimize(ops::gelu(x, kind)); });
}
BENCHMARK(gelu)->ArgName("tanh")->Arg(0)->Arg(1)->UseRealTime();

void cross_entropy(benchmark::State& state) {
  const Tensor logits = numbers({256, 49152}, 1);
  const Tensor labels = Tensor::full({256}, 7, DType::i64);
  run(state, {.bytes = 4 * logits.nbytes()}, [&] {
    Tensor chunk = logits.clone();
    benchmark::DoNotOptimize(ops::cross_entropy_(chunk, labels, true));
  });
}
BENCHMARK(cross_entropy)->UseRealTime();

}  // namespace
}  // namespace graft::bench
