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

/// False where this processor multiplies bf16 more slowly than f32: Intel's do one vdpbf16ps in two
/// cycles but two vfmadd in one (bench-kernels shows both loops), and leave bf16 to AMX.
bool bf16_products_pay();

/// Calls visit.operator()<isa>() for each set this processor has: the one whose kernels are to be
/// asked first comes last.
template <class Visit>
void for_each_isa(const Visit& visit) {
  const auto visit_if_there = [&visit]<Isa isa>() {
    if (cpu_has(isa))
      visit.template operator()<isa>();
  };
  const bool bf16_is_last = bf16_products_pay();
  if (!bf16_is_last)
    visit_if_there.template operator()<Isa::avx512_bf16>();
  visit_if_there.template operator()<Isa::portable>();
  visit_if_there.template operator()<Isa::avx2>();
  visit_if_there.template operator()<Isa::avx512>();
  if (bf16_is_last)
    visit_if_there.template operator()<Isa::avx512_bf16>();
}

/// "avx512-bf16": what kernels of a set are registered as.
const char* isa_name(Isa isa);

/// The micro-kernels of a set. Requires: this processor has it.
const TileKernels& tile_kernels(Isa isa);

/// The row kernels of a set, nullptr where it has none of its own. Requires: as above.
const RowKernels* row_kernels(Isa isa);

}  // namespace graft::cpu_kernels
