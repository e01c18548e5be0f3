// The sixteen values of a 4-bit data type, and where one ends and the next begins.
//
// Both types are bitsandbytes' (QLoRA, Dettmers et al. 2023, arXiv:2305.14314). The boundaries are
// the constants of its CUDA kernels; some of them are one unit in the last place away from the
// midpoint of their neighbours, which its CPU path uses.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace graft::quant {

/// nf4: quantiles of the normal distribution. fp4: sign, two exponent bits and one of mantissa.
enum class QuantType : int32_t { nf4, fp4 };

/// "nf4" or "fp4", as `bnb_4bit_quant_type` spells it.
std::string_view quant_type_name(QuantType type);
/// The type of that name. Throws ConfigError that lists the names.
QuantType parse_quant_type(std::string_view name);

/// The value of each code, in [-1, 1].
std::span<const float, 16> codebook(QuantType type);

/// How a number becomes a code: the number of `boundaries` it is greater than picks one of `codes`.
/// fp4 does so with the magnitude, and `sign_bit` is set in the code of a negative number.
struct Rounding {
  std::span<const float> boundaries;  ///< ascending
  std::span<const uint8_t> codes;     ///< one more than boundaries
  uint8_t sign_bit = 0;
};
Rounding rounding(QuantType type);

/// The code whose value is 0.
uint8_t zero_code(QuantType type);

}  // namespace graft::quant
