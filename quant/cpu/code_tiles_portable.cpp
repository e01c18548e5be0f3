#include "graft/tensor/cpu/simd_portable.h"
// The bodies use the Simd of the header above.
#include "graft/quant/cpu/code_tile_bodies.h"

namespace graft::quant {

extern const CodeTileKernels portable_codes;
const CodeTileKernels portable_codes{.floats = decode_floats,
                                     .pairs_along_k = nullptr,
                                     .pairs_along_n = nullptr,
                                     .few_rows = few_rows,
                                     .count_below = count_below};

}  // namespace graft::quant
