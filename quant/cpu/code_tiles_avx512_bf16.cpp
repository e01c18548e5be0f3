#include "graft/tensor/cpu/simd_avx512.h"
// The bodies use the Simd of the header above.
#include "graft/quant/cpu/code_tile_bodies.h"

namespace graft::quant {
namespace {

static_assert(panel_vectors == 2);

/// Calls store(k, column, left, right) with the numbers of each column k: rows 0 to 15 and 16 to 31
/// of the panel.
template <class Store>
void for_each_column(const CodeTile& tile, const Store& store) {
  const auto table = Simd::table(tile.map);
  const uint32_t* words = tile.codes + tile.k / codes_per_word * panel_width;
  for (int64_t k = 0; k < tile.depth; k += codes_per_word, words += panel_width) {
    const float* scales = scales_at(tile, tile.k + k);
    const Simd::Float left = Simd::load(scales);
    const Simd::Float right = Simd::load(scales + Simd::lanes);
#pragma GCC unroll 8
    for (int j = 0; j < codes_per_word; ++j)
      store(k + j, Simd::multiply(Simd::look_up(table, words, 4 * j), left),
            Simd::multiply(Simd::look_up(table, words + Simd::lanes, 4 * j), right));
  }
}

__m512i round_pair(Simd::Float low, Simd::Float high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

void decode_pairs_along_n(const CodeTile& tile, uint32_t* out) {
  for_each_column(tile, [&](int64_t k, Simd::Float left, Simd::Float right) {
    _mm512_storeu_si512(out + k * Simd::lanes, round_pair(left, right));
  });
}

void decode_pairs_along_k(const CodeTile& tile, uint32_t* out) {
  // The lower half of a register between the numbers of its upper half.
  const __m512i interleaved =
      _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                       21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  Simd::Float even_left = Simd::zero(), even_right = Simd::zero();
  for_each_column(tile, [&](int64_t k, Simd::Float left, Simd::Float right) {
    if (k % 2 == 0) {
      even_left = left;
      even_right = right;
      return;
    }
    uint32_t* to = out + k / 2 * panel_width;
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(interleaved, round_pair(even_left, left)));
    _mm512_storeu_si512(to + Simd::lanes,
                        _mm512_permutexvar_epi16(interleaved, round_pair(even_right, right)));
  });
}

}  // namespace

extern const CodeTileKernels avx512_bf16_codes;
const CodeTileKernels avx512_bf16_codes{.floats = decode_floats,
                                        .pairs_along_k = decode_pairs_along_k,
                                        .pairs_along_n = decode_pairs_along_n,
                                        .few_rows = few_rows,
                                        .count_below = count_below};

}  // namespace graft::quant
