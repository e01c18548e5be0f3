#include "graft/quant/cpu/register.h"

#include "graft/tensor/cpu/register.h"

namespace graft {

void quant::register_cpu_kernels(Registry& registry) {
  register_blocks(registry);
  register_linear(registry);
  register_optimizer(registry);
}

void register_built_in_kernels(Registry& registry) {
  register_cpu_kernels(registry);
  quant::register_cpu_kernels(registry);
}

}  // namespace graft
