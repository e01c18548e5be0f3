#include "graft/quant/codebook.h"

#include <array>

#include "graft/tensor/error.h"

namespace graft::quant {
namespace {

constexpr std::array<float, 16> nf4_values{-1.0F,
                                           -0.6961928009986877F,
                                           -0.5250730514526367F,
                                           -0.39491748809814453F,
                                           -0.28444138169288635F,
                                           -0.18477343022823334F,
                                           -0.09105003625154495F,
                                           0.0F,
                                           0.07958029955625534F,
                                           0.16093020141124725F,
                                           0.24611230194568634F,
                                           0.33791524171829224F,
                                           0.44070982933044434F,
                                           0.5626170039176941F,
                                           0.7229568362236023F,
                                           1.0F};
constexpr std::array<float, 15> nf4_boundaries{
    -0.8480964004993439F,  -0.6106329262256622F,  -0.4599952697753906F,   -0.33967943489551544F,
    -0.23460740596055984F, -0.13791173323988914F, -0.045525018125772476F, 0.03979014977812767F,
    0.1202552504837513F,   0.2035212516784668F,   0.2920137718319893F,    0.3893125355243683F,
    0.5016634166240692F,   0.6427869200706482F,   0.8614784181118011F};
constexpr std::array<uint8_t, 16> nf4_codes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// In units of 1/12: 0, 1/16, 8, 12, 4, 6, 2, 3.
constexpr std::array<float, 16> fp4_values{
    0.0F,  0.005208333333F,  0.66666667F,  1.0F,  0.33333333F,  0.5F,  0.16666667F,  0.25F,
    -0.0F, -0.005208333333F, -0.66666667F, -1.0F, -0.33333333F, -0.5F, -0.16666667F, -0.25F};
constexpr std::array<float, 7> fp4_boundaries{0.00260417F, 0.0859375F, 0.20833333F, 0.29166667F,
                                              0.4166667F,  0.583333F,  0.8333333F};
constexpr std::array<uint8_t, 8> fp4_codes{0, 1, 6, 7, 4, 5, 2, 3};

}  // namespace

std::string_view quant_type_name(QuantType type) {
  return type == QuantType::nf4 ? "nf4" : "fp4";
}

QuantType parse_quant_type(std::string_view name) {
  for (const QuantType type : {QuantType::nf4, QuantType::fp4}) {
    if (name == quant_type_name(type))
      return type;
  }
  throw ConfigError(concat("4-bit type ", name, ": nf4 or fp4 expected"));
}

std::span<const float, 16> codebook(QuantType type) {
  return type == QuantType::nf4 ? nf4_values : fp4_values;
}

Rounding rounding(QuantType type) {
  if (type == QuantType::nf4)
    return {nf4_boundaries, nf4_codes};
  return {fp4_boundaries, fp4_codes, 8};
}

uint8_t zero_code(QuantType type) {
  return type == QuantType::nf4 ? 7 : 0;
}

}  // namespace graft::quant
