// Compiled for the processor it runs on, with -ffp-contract=fast.
#include "graft/bench/peak.h"

namespace graft::bench {
namespace {

// Independent chains: enough to hide the latency of two units, and no more than there are
// registers.
#ifdef __AVX512F__
constexpr int chains = 24;
constexpr int lanes = 16;
#else
constexpr int chains = 12;
constexpr int lanes = 8;
#endif
using Vector __attribute__((vector_size(lanes * sizeof(float)))) = float;
using Unaligned __attribute__((vector_size(lanes * sizeof(float)), aligned(4), may_alias)) = float;

float sum_of(const Vector* vectors, int count) {
  Vector total{};
  for (int i = 0; i < count; ++i)
    total += vectors[i];
  float result = 0;
  for (int i = 0; i < lanes; ++i)
    result += total[i];
  return result;
}

}  // namespace

float fma_loop(int64_t rounds) {
  Vector sums[chains];
  for (int i = 0; i < chains; ++i)
    sums[i] = Vector{} + static_cast<float>(i);
  const Vector factor = Vector{} + 0.999f;
  const Vector term = Vector{} + 0.001f;
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24  // all
    for (int i = 0; i < chains; ++i)
      sums[i] = sums[i] * factor + term;
  }
  return sum_of(sums, chains);
}

double fma_loop_flops(int64_t rounds) {
  return 2.0 * chains * lanes * static_cast<double>(rounds);
}

float read_loop(const float* x, int64_t count) {
  constexpr int streams = 8;
  Vector sums[streams]{};
  int64_t i = 0;
  for (; i + streams * lanes <= count; i += streams * lanes) {
#pragma GCC unroll 8
    for (int s = 0; s < streams; ++s)
      sums[s] += *reinterpret_cast<const Unaligned*>(x + i + s * lanes);
  }
  float rest = 0;
  for (; i < count; ++i)
    rest += x[i];
  return rest + sum_of(sums, streams);
}

}  // namespace graft::bench
