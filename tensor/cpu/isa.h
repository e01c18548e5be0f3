// Which instruction sets this processor has. Answered by the one isa_*.cpp that the build picks.
#pragma once

namespace graft::cpu_kernels {

/// AVX2, FMA, BMI2 and what else the x86-64-v3 level names.
bool cpu_has_x86_64_v3();

}  // namespace graft::cpu_kernels
