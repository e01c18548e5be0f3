#include "graft/quant/cpu/code_tiles.h"

namespace graft::quant {

const CodeTileKernels& code_tile_kernels(cpu_kernels::Isa isa) {
  switch (isa) {
    case cpu_kernels::Isa::portable:
      return portable_codes;
    case cpu_kernels::Isa::avx2:
      return avx2_codes;
    case cpu_kernels::Isa::avx512:
      return avx512_codes;
    case cpu_kernels::Isa::avx512_bf16:
      return avx512_bf16_codes;
  }
  return portable_codes;
}

}  // namespace graft::quant
