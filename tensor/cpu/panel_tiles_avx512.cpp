#include "graft/tensor/cpu/simd_avx512.h"
// The bodies use the Simd of the header above.
#include "graft/tensor/cpu/panel_tile_bodies.h"

namespace graft::cpu_kernels {

extern const TileKernels avx512_tiles;
const TileKernels avx512_tiles{.name = "avx512",
                               .rows = Simd::tile_rows,
                               .forward = forward<Floats>,
                               .outer = outer,
                               .forward_pairs = nullptr,
                               .few_pairs = few_pairs,
                               .backward = backward<Floats>,
                               .backward_pairs = nullptr,
                               .dots = dots,
                               .dot_rows = dot_rows,
                               .transpose = transpose_words,
                               .round = round_rows,
                               .widen = widen_pairs,
                               .turn = nullptr};

}  // namespace graft::cpu_kernels
