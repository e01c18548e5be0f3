#include "graft/tensor/cpu/isa.h"

namespace graft::cpu_kernels {

bool cpu_has_x86_64_v3() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2");
}

}  // namespace graft::cpu_kernels
