// The portable kernels of quant's slots.
#pragma once

namespace graft {
class Registry;
}

namespace graft::quant {

/// Adds them to their slots.
void register_cpu_kernels(Registry& registry);

}  // namespace graft::quant
