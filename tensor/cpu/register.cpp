#include "graft/tensor/cpu/register.h"

#include "graft/tensor/cpu/families.h"

namespace graft {

void register_cpu_kernels(Registry& registry) {
  using namespace cpu_kernels;
  register_copy(registry);
}

}  // namespace graft
