// A loop of multiply-adds that never leaves the registers: what the processor can reach.
#pragma once

#include <cstdint>

namespace graft::bench {

/// Runs `rounds` rounds of f32 multiply-adds and returns a number that depends on all of them.
float fma_loop(int64_t rounds);
/// Floating-point operations that fma_loop(rounds) does.
double fma_loop_flops(int64_t rounds);

}  // namespace graft::bench
