// Vectors of four floats in the compiler's own notation, for processors of any kind.
#pragma once

#include <cstdint>

namespace graft::cpu_kernels {
namespace {

struct Simd {
  static constexpr int lanes = 4;
  static constexpr int tile_rows = 6;
  using Float = float __attribute__((vector_size(16)));
  using Unaligned = float __attribute__((vector_size(16), aligned(4), may_alias));

  static Float zero() { return Float{}; }
  static Float load(const float* x) { return *reinterpret_cast<const Unaligned*>(x); }
  static void store(float* x, Float value) { *reinterpret_cast<Unaligned*>(x) = value; }
  static Float broadcast(const float* x) { return *x - Float{}; }
  /// a · b + c
  static Float multiply_add(Float a, Float b, Float c) { return a * b + c; }
  static Float add(Float a, Float b) { return a + b; }

  /// The first `count` lanes, zeros in the others.
  static Float load_first(const float* x, int count) {
    Float result{};
    for (int i = 0; i < count; ++i)
      result[i] = x[i];
    return result;
  }
  static void store_first(float* x, Float value, int count) {
    for (int i = 0; i < count; ++i)
      x[i] = value[i];
  }
  /// Rows become columns.
  static void transpose(Float (&rows)[lanes]) {
    for (int i = 0; i < lanes; ++i) {
      for (int j = 0; j < i; ++j) {
        const float below = rows[i][j];
        rows[i][j] = rows[j][i];
        rows[j][i] = below;
      }
    }
  }
  /// A table of sixteen, and its entries at bits [shift, shift + 4) of each word.
  struct Table {
    const float* values;
  };
  static Table table(const float* values) { return {values}; }
  static Float look_up(const Table& table, const uint32_t* words, int shift) {
    Float result{};
    for (int i = 0; i < lanes; ++i)
      result[i] = table.values[words[i] >> shift & 15U];
    return result;
  }
  static Float multiply(Float a, Float b) { return a * b; }
  /// The lower or upper bf16 of each word, as floats.
  using Words = uint32_t __attribute__((vector_size(16)));
  using UnalignedWords = uint32_t __attribute__((vector_size(16), aligned(4), may_alias));
  static Float low_halves(const uint32_t* x) {
    return reinterpret_cast<Float>(Words(*reinterpret_cast<const UnalignedWords*>(x)) << 16);
  }
  static Float high_halves(const uint32_t* x) {
    return reinterpret_cast<Float>(Words(*reinterpret_cast<const UnalignedWords*>(x)) &
                                   0xffff0000U);
  }
  /// Rounded to the nearest bf16, ties to even; NaN stays NaN.
  static void store_bf16(uint16_t* x, Float value) {
    const Words words = reinterpret_cast<Words>(value);
    for (int i = 0; i < lanes; ++i) {
      const uint32_t half = 0x7fffU + (words[i] >> 16 & 1U);
      const bool is_nan = value[i] != value[i];
      x[i] = static_cast<uint16_t>((is_nan ? words[i] | 0x400000U : words[i] + half) >> 16);
    }
  }
};

}  // namespace
}  // namespace graft::cpu_kernels
