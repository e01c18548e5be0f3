// Vectors of sixteen floats: AVX-512 F, BW, DQ and VL.
#pragma once

#include <cstdint>
#include <immintrin.h>

namespace graft::cpu_kernels {
namespace {

struct Simd {
  static constexpr int lanes = 16;
  static constexpr int tile_rows = 12;  // 24 of the 32 registers accumulate
  using Float = __m512;

  static Float zero() { return _mm512_setzero_ps(); }
  static Float load(const float* x) { return _mm512_loadu_ps(x); }
  static void store(float* x, Float value) { _mm512_storeu_ps(x, value); }
  static Float broadcast(const float* x) { return _mm512_set1_ps(*x); }
  /// a · b + c
  static Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }

  /// The first `count` lanes, zeros in the others.
  static Float load_first(const float* x, int count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), x);
  }
  static void store_first(float* x, Float value, int count) {
    _mm512_mask_storeu_ps(x, first_lanes(count), value);
  }
  /// Rows become columns.
  static void transpose(Float (&rows)[lanes]) {
    Float pairs[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    Float quads[lanes];
#pragma GCC unroll 16
    for (int i = 0; i < lanes; i += 4) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const Float a = pairs[i + half];
        const Float b = pairs[i + half + 2];
        quads[i + 2 * half] = _mm512_shuffle_ps(a, b, 0x44);
        quads[i + 2 * half + 1] = _mm512_shuffle_ps(a, b, 0xee);
      }
    }
    Float halves[lanes];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const Float a = quads[i + 8 * half];
        const Float b = quads[i + 8 * half + 4];
        halves[i + 8 * half] = _mm512_shuffle_f32x4(a, b, 0x88);
        halves[i + 8 * half + 4] = _mm512_shuffle_f32x4(a, b, 0xdd);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      rows[i] = _mm512_shuffle_f32x4(halves[i], halves[i + 8], 0x88);
      rows[i + 8] = _mm512_shuffle_f32x4(halves[i], halves[i + 8], 0xdd);
    }
  }
  /// A table of sixteen, and its entries at bits [shift, shift + 4) of each word.
  using Table = Float;
  static Table table(const float* values) {
    return load(values);
  }
  static Float look_up(Table table, const uint32_t* words, int shift) {
    // The permutation looks at four bits and no further.
    const __m512i at = _mm512_srl_epi32(_mm512_loadu_si512(words), _mm_cvtsi32_si128(shift));
    return _mm512_permutexvar_ps(at, table);
  }
  static Float multiply(Float a, Float b) {
    return _mm512_mul_ps(a, b);
  }
  /// The lower or upper bf16 of each word, as floats.
  static Float low_halves(const uint32_t* x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(x), 16));
  }
  static Float high_halves(const uint32_t* x) {
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(x), mask));
  }
  /// Rounded to the nearest bf16, ties to even; NaN stays NaN.
  static void store_bf16(uint16_t* x, Float value) {
    const __m512i words = _mm512_castps_si512(value);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(words, 16), _mm512_set1_epi32(1));
    const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i quiet = _mm512_or_si512(words, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_mov_epi32(_mm512_add_epi32(words, half), is_nan, quiet);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(x),
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }

 private:
  static __mmask16 first_lanes(int count) {
    return static_cast<__mmask16>((1U << count) - 1);
  }
};

}  // namespace
}  // namespace graft::cpu_kernels
