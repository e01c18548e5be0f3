// Vectors of eight floats: AVX2 and FMA.
#pragma once

#include <cstdint>
#include <immintrin.h>

namespace graft::cpu_kernels {
namespace {

struct Simd {
  static constexpr int lanes = 8;
  static constexpr int tile_rows = 6;  // 12 of the 16 registers accumulate
  using Float = __m256;

  static Float zero() { return _mm256_setzero_ps(); }
  static Float load(const float* x) { return _mm256_loadu_ps(x); }
  static void store(float* x, Float value) { _mm256_storeu_ps(x, value); }
  static Float broadcast(const float* x) { return _mm256_broadcast_ss(x); }
  /// a · b + c
  static Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }

  /// The first `count` lanes, zeros in the others.
  static Float load_first(const float* x, int count) {
    return _mm256_maskload_ps(x, first_lanes(count));
  }
  static void store_first(float* x, Float value, int count) {
    _mm256_maskstore_ps(x, first_lanes(count), value);
  }
  /// Rows become columns.
  static void transpose(Float (&rows)[lanes]) {
    Float pairs[lanes];
    for (int i = 0; i < lanes; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    Float quads[lanes];
    for (int i = 0; i < lanes; i += 4) {
      for (int half = 0; half < 2; ++half) {
        const Float a = pairs[i + half];
        const Float b = pairs[i + half + 2];
        quads[i + 2 * half] = _mm256_shuffle_ps(a, b, 0x44);
        quads[i + 2 * half + 1] = _mm256_shuffle_ps(a, b, 0xee);
      }
    }
    for (int i = 0; i < 4; ++i) {
      rows[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
      rows[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
  }
  /// A table of sixteen, and its entries at bits [shift, shift + 4) of each word.
  struct Table {
    Float low, high;
  };
  static Table table(const float* values) { return {load(values), load(values + lanes)}; }
  static Float look_up(const Table& table, const uint32_t* words, int shift) {
    // The permutations look at three bits; the fourth, moved to the sign, chooses between them.
    const __m256i at = _mm256_srl_epi32(load_words(words), _mm_cvtsi32_si128(shift));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, at),
                            _mm256_permutevar8x32_ps(table.high, at),
                            _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
  }
  static Float multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  /// The lower or upper bf16 of each word, as floats.
  static Float low_halves(const uint32_t* x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(load_words(x), 16));
  }
  static Float high_halves(const uint32_t* x) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
    return _mm256_castsi256_ps(_mm256_and_si256(load_words(x), mask));
  }
  /// Rounded to the nearest bf16, ties to even; NaN stays NaN.
  static void store_bf16(uint16_t* x, Float value) {
    const __m256i words = _mm256_castps_si256(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(words, 16), _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i quiet = _mm256_or_si256(words, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i rounded = _mm256_blendv_epi8(_mm256_add_epi32(words, half), quiet, is_nan);
    const __m256i high = _mm256_srli_epi32(rounded, 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x), _mm256_castsi256_si128(packed));
  }

 private:
  static __m256i first_lanes(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256i load_words(const uint32_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  }
};

}  // namespace
}  // namespace graft::cpu_kernels
