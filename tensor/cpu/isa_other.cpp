#include "graft/tensor/cpu/isa.h"

namespace graft::cpu_kernels {

bool cpu_has_x86_64_v3() {
  return false;
}

}  // namespace graft::cpu_kernels
