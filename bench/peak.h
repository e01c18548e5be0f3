// What the processor can reach at most: loops that never leave the registers, and a plain read.
#pragma once

#include <cstdint>

namespace graft::bench {

/// Runs `rounds` rounds of f32 multiply-adds and returns a number that depends on all of them.
float fma_loop(int64_t rounds);
/// Floating-point operations that fma_loop(rounds) does.
double fma_loop_flops(int64_t rounds);

/// The same for products of pairs of bf16 with f32 sums.
float bf16_loop(int64_t rounds);
/// 0 where the processor has no such products.
double bf16_loop_flops(int64_t rounds);

/// Reads `count` floats once and returns a number that depends on all of them.
float read_loop(const float* x, int64_t count);

}  // namespace graft::bench
