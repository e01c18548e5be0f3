#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_tiles.h"

namespace graft::cpu_kernels {

bool cpu_has(Isa isa) {
  return isa == Isa::portable;
}

const TileKernels& tile_kernels(Isa) {
  return portable_tiles;
}

}  // namespace graft::cpu_kernels
