#include "graft/tensor/cpu/isa.h"

namespace graft::cpu_kernels {

bool cpu_has_x86_64_v3() {
  return __builtin_cpu_supports("x86-64-v3");
}

}  // namespace graft::cpu_kernels
