#include "graft/tensor/cpu/simd_avx2.h"
// The bodies use the Simd of the header above.
#include "graft/tensor/cpu/lanes.h"
// And the Lanes of this one.
#include "graft/tensor/cpu/row_kernel_bodies.h"

namespace graft::cpu_kernels {

extern const RowKernels avx2_rows;
const RowKernels avx2_rows = all_rows;

}  // namespace graft::cpu_kernels
