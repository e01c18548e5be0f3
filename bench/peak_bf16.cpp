// Compiled for the processor it runs on, which has AVX-512-BF16.
#include <immintrin.h>

#include "graft/bench/peak.h"

namespace graft::bench {
namespace {

constexpr int chains = 24;
constexpr int products = 32;  // of one instruction

}  // namespace

float bf16_loop(int64_t rounds) {
  __m512 sums[chains];
  for (int i = 0; i < chains; ++i)
    sums[i] = _mm512_set1_ps(static_cast<float>(i));
  const auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
  auto small = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x30003000));
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(small));  // or the compiler multiplies once
#pragma GCC unroll 24
    for (int i = 0; i < chains; ++i)
      sums[i] = _mm512_dpbf16_ps(sums[i], ones, small);
  }
  // GCC 12 takes _mm512_reduce_add_ps for a read of what has no value.
  float result = 0;
  for (const __m512& sum : sums) {
    for (int i = 0; i < products / 2; ++i)
      result += sum[i];
  }
  return result;
}

double bf16_loop_flops(int64_t rounds) {
  return 2.0 * chains * products * static_cast<double>(rounds);
}

}  // namespace graft::bench
