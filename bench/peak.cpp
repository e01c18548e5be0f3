// Compiled for the processor it runs on, with -ffp-contract=fast.
#include "graft/bench/peak.h"

namespace graft::bench {
namespace {

// 24 independent chains of 16 lanes: enough to hide the latency of two units of 512 bits.
constexpr int chains = 24;
constexpr int lanes = 16;
using Vector __attribute__((vector_size(lanes * sizeof(float)))) = float;

}  // namespace

float fma_loop(int64_t rounds) {
  Vector sums[chains];
  for (int i = 0; i < chains; ++i)
    sums[i] = Vector{} + static_cast<float>(i);
  const Vector factor = Vector{} + 0.999f;
  const Vector term = Vector{} + 0.001f;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i)
      sums[i] = sums[i] * factor + term;
  }
  Vector total{};
  for (const Vector& sum : sums)
    total += sum;
  float result = 0;
  for (int i = 0; i < lanes; ++i)
    result += total[i];
  return result;
}

double fma_loop_flops(int64_t rounds) {
  return 2.0 * chains * lanes * static_cast<double>(rounds);
}

}  // namespace graft::bench
