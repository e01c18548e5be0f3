#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_tiles.h"
#include "graft/tensor/cpu/row_kernels.h"

namespace graft::cpu_kernels {

bool cpu_has(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("x86-64-v3");
    case Isa::avx512:
      return __builtin_cpu_supports("x86-64-v4");
    case Isa::avx512_bf16:
      return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}

bool bf16_products_pay() {
  return cpu_has(Isa::avx512_bf16) && !__builtin_cpu_is("intel");
}

const char* isa_name(Isa isa) {
  return tile_kernels(isa).name;
}

const TileKernels& tile_kernels(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return portable_tiles;
    case Isa::avx2:
      return avx2_tiles;
    case Isa::avx512:
      return avx512_tiles;
    case Isa::avx512_bf16:
      return avx512_bf16_tiles;
  }
  return portable_tiles;
}

const RowKernels* row_kernels(Isa isa) {
  if (isa == Isa::avx2)
    return &avx2_rows;
  return isa == Isa::avx512 ? &avx512_rows : nullptr;
}

}  // namespace graft::cpu_kernels
