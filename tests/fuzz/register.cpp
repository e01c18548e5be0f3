// The kernels that reading needs, in place of all that the library has.
#include "graft/quant/cpu/register.h"

#include "graft/tensor/cpu/families.h"
#include "graft/tensor/slot.h"

namespace graft {

void register_built_in_kernels(Registry& registry) {
  cpu_kernels::register_copy(registry);
  quant::register_blocks(registry);
}

}  // namespace graft
