#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/cpu/panel_tiles.h"

namespace graft::cpu_kernels {

bool cpu_has(Isa isa) {
  return isa == Isa::portable;
}

bool bf16_products_pay() {
  return false;
}

const char* isa_name(Isa) {
  return portable_tiles.name;
}

const TileKernels& tile_kernels(Isa) {
  return portable_tiles;
}

const RowKernels* row_kernels(Isa) {
  return nullptr;
}

}  // namespace graft::cpu_kernels
