// The portable kernels of quant's slots.
#pragma once

namespace graft {
class Registry;
}

namespace graft::quant {

/// Adds them to their slots.
void register_cpu_kernels(Registry& registry);

/// The families, each registered by the file of its name in this folder.
void register_blocks(Registry& registry);
void register_linear(Registry& registry);
void register_optimizer(Registry& registry);

}  // namespace graft::quant
