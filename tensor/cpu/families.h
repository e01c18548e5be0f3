// The families of CPU kernels; each is registered by the file of its name in this folder.
#pragma once

namespace graft {
class Registry;
}

namespace graft::cpu_kernels {

void register_copy(Registry& registry);

}  // namespace graft::cpu_kernels
