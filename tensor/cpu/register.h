// The CPU kernels: which families there are. Each family lists its kernels in its own file.
#pragma once

namespace graft {

class Registry;

/// Adds all CPU kernels to their slots. Called once, by registry().
void register_cpu_kernels(Registry& registry);

}  // namespace graft
