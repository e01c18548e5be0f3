#include "graft/tensor/cpu/simd_avx512.h"
// The bodies use the Simd of the header above.
#include "graft/tensor/cpu/panel_tile_bodies.h"

namespace graft::cpu_kernels {
namespace {

/// The products of pairs of bf16, both added to an f32.
struct Pairs {
  using Number = uint32_t;
  using Vector = __m512i;
  static constexpr int per_dword = 2;
  static Vector load(const uint32_t* x) { return _mm512_loadu_si512(x); }
  static Vector broadcast(const uint32_t* x) { return _mm512_set1_epi32(static_cast<int>(*x)); }
  static Simd::Float add_product(Vector a, Vector b, Simd::Float c) {
    return _mm512_dpbf16_ps(c, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

/// The even numbers of two columns next to each other, and the odd ones.
void turn_pairs(const uint32_t* pairs, int64_t depth, uint32_t* out) {
  const __m512i even =
      _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                       24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
  for (int64_t k = 0; k < depth; ++k, pairs += panel_width, out += panel_width) {
    const __m512i a = _mm512_loadu_si512(pairs);
    const __m512i b = _mm512_loadu_si512(pairs + Simd::lanes);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi16(a, even, b));
    _mm512_storeu_si512(out + Simd::lanes, _mm512_permutex2var_epi16(a, odd, b));
  }
}

}  // namespace

extern const TileKernels avx512_bf16_tiles;
const TileKernels avx512_bf16_tiles{.name = "avx512-bf16",
                                    .rows = Simd::tile_rows,
                                    .forward = forward<Floats>,
                                    .outer = outer,
                                    .forward_pairs = forward<Pairs>,
                                    .few_pairs = few_pairs,
                                    .backward = backward<Floats>,
                                    .backward_pairs = backward<Pairs>,
                                    .dots = dots,
                                    .dot_rows = dot_rows,
                                    .transpose = transpose_words,
                                    .round = round_rows,
                                    .widen = widen_pairs,
                                    .turn = turn_pairs};

}  // namespace graft::cpu_kernels
