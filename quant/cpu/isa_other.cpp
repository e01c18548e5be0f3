#include "graft/quant/cpu/code_tiles.h"

namespace graft::quant {

const CodeTileKernels& code_tile_kernels(cpu_kernels::Isa) {
  return portable_codes;
}

}  // namespace graft::quant
