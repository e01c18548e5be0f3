// Instruction sets of the CPU kernels: which ones this processor has, and keeping to narrower ones.
//
// Kernels are built for several sets and register under the set's name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// The sets this processor has of those that kernels are built for, each with those before it:
/// "portable", "avx2", "avx512", "avx512-bf16".
std::vector<std::string> available_isas();

/// The set whose kernels are asked first as long as limit_isa was not called: the widest, but not
/// "avx512-bf16" on a processor that multiplies bf16 more slowly than f32, as Intel's do.
std::string preferred_isa();

/// Asks kernels of wider sets than `name` last in all slots, that is, only for what no other kernel
/// takes. Call before the first operation runs in another thread and before plug-ins are opened.
/// Throws ConfigError, naming those there are, where this processor has no such set.
void limit_isa(std::string_view name);

}  // namespace graft
