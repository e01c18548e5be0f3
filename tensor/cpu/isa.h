// Which instruction sets this processor has, and the kernels built for them. Answered by the one
// isa_*.cpp that the build picks.
#pragma once

namespace graft::cpu_kernels {

struct TileKernels;
struct RowKernels;

/// The sets that kernels are built for, each with those before it.
enum class Isa {
  portable,
  avx2,         ///< AVX2, FMA, BMI2 and what else the x86-64-v3 level names
  avx512,       ///< AVX-512 F, BW, DQ and VL: the x86-64-v4 level
  avx512_bf16,  ///< and products of bf16
};

bool cpu_has(Isa isa);

/// "avx512-bf16": what kernels of a set are registered as.
const char* isa_name(Isa isa);

/// The micro-kernels of a set. Requires: this processor has it.
const TileKernels& tile_kernels(Isa isa);

/// The row kernels of a set, nullptr where it has none of its own. Requires: as above.
const RowKernels* row_kernels(Isa isa);

}  // namespace graft::cpu_kernels
