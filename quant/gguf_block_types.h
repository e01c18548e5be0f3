// The blocks of ggml's quantised types and the numbers they stand for. For gguf_blocks.cpp.
//
// The structs lie as in a file, little-endian, without padding; scales are in half precision. Every
// formula is in the order of operations of the gguf package, so that the bits are its bits, and in
// loops over whole rows of codes, which compilers turn into vector code.
#pragma once

#include <cstdint>
#include <cstring>

#include "graft/tensor/dtype.h"

namespace graft::quant {

inline float half(uint16_t bits) {
  f16 value;
  value.bits = bits;
  return static_cast<float>(value);
}

// 32 numbers, one scale. Low nibbles are the numbers 0 to 15, high nibbles 16 to 31.
struct Q4_0 {
  static constexpr int elements = 32;
  uint16_t scale;
  uint8_t codes[16];
};
struct Q4_1 {
  static constexpr int elements = 32;
  uint16_t scale, minimum;
  uint8_t codes[16];
};
struct Q5_0 {
  static constexpr int elements = 32;
  uint16_t scale;
  uint8_t fifth_bits[4];  // bit i belongs to number i
  uint8_t codes[16];
};
struct Q5_1 {
  static constexpr int elements = 32;
  uint16_t scale, minimum;
  uint8_t fifth_bits[4];
  uint8_t codes[16];
};
struct Q8_0 {
  static constexpr int elements = 32;
  uint16_t scale;
  int8_t codes[32];
};

// 256 numbers in runs of 16 or 32, which have scales of 4, 6 or 8 bits; those have a scale in turn.
struct Q2_K {
  static constexpr int elements = 256;
  uint8_t scales[16];  // low nibble the scale, high nibble the minimum
  uint8_t codes[64];
  uint16_t scale, minimum;
};
struct Q3_K {
  static constexpr int elements = 256;
  uint8_t third_bits[32];  // bit j of byte i belongs to number 32j + i
  uint8_t codes[64];
  uint8_t scales[12];
  uint16_t scale;
};
struct Q4_K {
  static constexpr int elements = 256;
  uint16_t scale, minimum;
  uint8_t scales[12];
  uint8_t codes[128];
};
struct Q5_K {
  static constexpr int elements = 256;
  uint16_t scale, minimum;
  uint8_t scales[12];
  uint8_t fifth_bits[32];  // as third_bits of Q3_K
  uint8_t codes[128];
};
struct Q6_K {
  static constexpr int elements = 256;
  uint8_t codes[128];
  uint8_t high_bits[64];
  int8_t scales[16];
  uint16_t scale;
};
static_assert(sizeof(Q4_0) == 18 && sizeof(Q4_1) == 20 && sizeof(Q5_0) == 22 &&
              sizeof(Q5_1) == 24 && sizeof(Q8_0) == 34);
static_assert(sizeof(Q2_K) == 84 && sizeof(Q3_K) == 110 && sizeof(Q4_K) == 144 &&
              sizeof(Q5_K) == 176 && sizeof(Q6_K) == 210);

// decode(block, y): the block's numbers at y.

inline void decode(const Q4_0& block, float* y) {
  const float scale = half(block.scale);
  for (int i = 0; i < 16; ++i) {
    y[i] = scale * static_cast<float>((block.codes[i] & 15) - 8);
    y[i + 16] = scale * static_cast<float>((block.codes[i] >> 4) - 8);
  }
}

inline void decode(const Q4_1& block, float* y) {
  const float scale = half(block.scale);
  const float minimum = half(block.minimum);
  for (int i = 0; i < 16; ++i) {
    y[i] = scale * static_cast<float>(block.codes[i] & 15) + minimum;
    y[i + 16] = scale * static_cast<float>(block.codes[i] >> 4) + minimum;
  }
}

/// Eight bytes, of which byte i is 16 where bit i is set, else 0.
inline uint64_t fifth_bits_apart(uint8_t bits) {
  constexpr uint64_t ones = 0x0101010101010101;
  const uint64_t apart = bits * ones & 0x8040201008040201;  // byte i holds bit i alone
  return (apart + 0x7f * ones) >> 3 & 0x10 * ones;          // the highest bit of byte i, moved
}

/// The five bits of each of the 32 numbers of a Q5_0 or Q5_1.
template <class Block>
void five_bits(const Block& block, uint8_t (&codes)[32]) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t eight = fifth_bits_apart(block.fifth_bits[i]);
    std::memcpy(codes + 8 * i, &eight, sizeof(eight));
  }
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<uint8_t>(codes[i] | (block.codes[i] & 15));
    codes[i + 16] = static_cast<uint8_t>(codes[i + 16] | block.codes[i] >> 4);
  }
}

inline void decode(const Q5_0& block, float* y) {
  const float scale = half(block.scale);
  uint8_t codes[32];
  five_bits(block, codes);
  for (int i = 0; i < 32; ++i)
    y[i] = scale * static_cast<float>(codes[i] - 16);
}

inline void decode(const Q5_1& block, float* y) {
  const float scale = half(block.scale);
  const float minimum = half(block.minimum);
  uint8_t codes[32];
  five_bits(block, codes);
  for (int i = 0; i < 32; ++i)
    y[i] = scale * static_cast<float>(codes[i]) + minimum;
}

inline void decode(const Q8_0& block, float* y) {
  const float scale = half(block.scale);
  for (int i = 0; i < 32; ++i)
    y[i] = scale * static_cast<float>(block.codes[i]);
}

inline void decode(const Q2_K& block, float* y) {
  const float scale = half(block.scale);
  const float minimum = half(block.minimum);
  for (int run = 0; run < 16; ++run) {
    const float run_scale = scale * static_cast<float>(block.scales[run] & 15);
    const float run_minimum = minimum * static_cast<float>(block.scales[run] >> 4);
    const uint8_t* codes = block.codes + run / 8 * 32 + run % 2 * 16;
    const int shift = run / 2 % 4 * 2;
    for (int i = 0; i < 16; ++i)
      y[16 * run + i] = run_scale * static_cast<float>(codes[i] >> shift & 3) - run_minimum;
  }
}

inline void decode(const Q3_K& block, float* y) {
  const float scale = half(block.scale);
  for (int run = 0; run < 16; ++run) {
    const int low = block.scales[run % 8] >> run / 8 * 4 & 15;
    const int high = block.scales[8 + run % 4] >> run / 4 * 2 & 3;
    const float run_scale = scale * static_cast<float>((low | high << 4) - 32);
    const uint8_t* codes = block.codes + run / 8 * 32 + run % 2 * 16;
    const uint8_t* third_bits = block.third_bits + run % 2 * 16;
    const int shift = run / 2 % 4 * 2;
    const int bit = run / 2;
    for (int i = 0; i < 16; ++i) {
      const int offset = 4 - (third_bits[i] >> bit & 1) * 4;  // the bit takes the offset away
      y[16 * run + i] = run_scale * static_cast<float>((codes[i] >> shift & 3) - offset);
    }
  }
}

/// Scale and minimum, of six bits each, of one of the eight runs of a Q4_K or Q5_K.
struct RunScale {
  int scale, minimum;
};

inline RunScale run_scale_of(const uint8_t (&scales)[12], int run) {
  if (run < 4)
    return {scales[run] & 63, scales[run + 4] & 63};
  return {(scales[run + 4] & 15) | scales[run - 4] >> 6 << 4,
          scales[run + 4] >> 4 | scales[run] >> 6 << 4};
}

inline void decode(const Q4_K& block, float* y) {
  const float scale = half(block.scale);
  const float minimum = half(block.minimum);
  for (int run = 0; run < 8; ++run) {
    const RunScale six_bits = run_scale_of(block.scales, run);
    const float run_scale = scale * static_cast<float>(six_bits.scale);
    const float run_minimum = minimum * static_cast<float>(six_bits.minimum);
    const uint8_t* codes = block.codes + run / 2 * 32;
    const int shift = run % 2 * 4;
    for (int i = 0; i < 32; ++i)
      y[32 * run + i] = run_scale * static_cast<float>(codes[i] >> shift & 15) - run_minimum;
  }
}

inline void decode(const Q5_K& block, float* y) {
  const float scale = half(block.scale);
  const float minimum = half(block.minimum);
  for (int run = 0; run < 8; ++run) {
    const RunScale six_bits = run_scale_of(block.scales, run);
    const float run_scale = scale * static_cast<float>(six_bits.scale);
    const float run_minimum = minimum * static_cast<float>(six_bits.minimum);
    const uint8_t* codes = block.codes + run / 2 * 32;
    const int shift = run % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int code = (codes[i] >> shift & 15) | (block.fifth_bits[i] >> run & 1) << 4;
      y[32 * run + i] = run_scale * static_cast<float>(code) - run_minimum;
    }
  }
}

inline void decode(const Q6_K& block, float* y) {
  const float scale = half(block.scale);
  for (int run = 0; run < 16; ++run) {
    const float run_scale = scale * static_cast<float>(block.scales[run]);
    const int row = run / 2 % 4;  // of 32 numbers, four in each half
    const uint8_t* codes = block.codes + run / 8 * 64 + row % 2 * 32 + run % 2 * 16;
    const uint8_t* high_bits = block.high_bits + run / 8 * 32 + run % 2 * 16;
    const int code_shift = row / 2 * 4;
    const int high_shift = row * 2;
    for (int i = 0; i < 16; ++i) {
      const int code = (codes[i] >> code_shift & 15) | (high_bits[i] >> high_shift & 3) << 4;
      y[16 * run + i] = run_scale * static_cast<float>(code - 32);
    }
  }
}

}  // namespace graft::quant
