// The scale of a block of numbers that is about to be quantised.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace graft::quant {

/// Numbers worked on together, in loops of constant length that compilers turn into vector code.
/// Every block but the last of a tensor is a multiple of it.
constexpr int64_t lanes = 32;

constexpr int64_t largest_block = 4096;

/// The largest magnitude of a block, which is first padded with zeros to whole lanes: as bits
/// magnitudes order like numbers, infinity above all finite ones and NaN above infinity.
inline float largest_magnitude(float* block, int64_t count) {
  constexpr uint32_t magnitude_bits = 0x7fffffffU;
  for (int64_t i = count; i % lanes != 0; ++i)
    block[i] = 0;
  std::array<int32_t, lanes> largest{};
  for (int64_t i = 0; i < count; i += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const auto bits =
          static_cast<int32_t>(std::bit_cast<uint32_t>(block[i + lane]) & magnitude_bits);
      largest[lane] = std::max(largest[lane], bits);
    }
  }
  for (int64_t width = lanes / 2; width > 0; width /= 2) {
    for (int64_t lane = 0; lane < width; ++lane)
      largest[lane] = std::max(largest[lane], largest[lane + width]);
  }
  return std::bit_cast<float>(largest[0]);
}

/// What the numbers of a block are multiplied by; 0 for a block of zeros, whose reciprocal would be
/// infinite. Subnormal numbers count as zeros: their reciprocal may overflow too.
inline float reciprocal(float absmax) {
  return absmax < std::numeric_limits<float>::min() ? 0 : 1 / absmax;
}

/// False for NaN and infinity, as the numbers of such a block have no nearest code.
inline bool is_scale(float absmax) {
  return absmax <= std::numeric_limits<float>::max();
}

}  // namespace graft::quant
