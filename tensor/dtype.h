// Element types. Quantised weights are not a dtype: they are a storage kind of their own.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>

namespace graft {

/// The element types a Tensor can hold. The values are part of the plug-in ABI.
enum class DType : uint8_t { f64 = 0, f32, bf16, f16, i64, i32, u8, boolean };

/// The f32 next to `value` towards zero, its last bit set where something was cut off. Rounding
/// that to at most 22 bits gives what rounding `value` itself gives; rounding the nearest f32 does
/// not.
inline float cut_to_f32(double value) {
  const float nearest = static_cast<float>(value);
  const double back = static_cast<double>(nearest);
  if (back == value || value != value)
    return nearest;
  uint32_t bits = std::bit_cast<uint32_t>(nearest);
  if (value < 0 ? back < value : back > value)  // rounded away from zero
    --bits;
  return std::bit_cast<float>(bits | 1u);
}

/// bfloat16: the upper half of an f32. Converts with round to nearest even, f64 in one rounding.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? static_cast<uint16_t>((word >> 16) | 0x40u)
                  : static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  explicit bf16(double value) : bf16(cut_to_f32(value)) {}
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

/// IEEE 754 binary16. Converts with round to nearest even, f64 in one rounding; overflow gives
/// infinity.
struct f16 {
  uint16_t bits = 0;
  f16() = default;
  explicit f16(float value);
  explicit f16(double value) : f16(cut_to_f32(value)) {}
  explicit operator float() const;
};

/// Bytes per element.
constexpr size_t element_size(DType dtype) {
  constexpr size_t sizes[] = {8, 4, 2, 2, 8, 4, 1, 1};
  return sizes[static_cast<size_t>(dtype)];
}

constexpr bool is_floating(DType dtype) {
  return dtype <= DType::f16;
}

/// "f32", "bf16", … as the command line spells them.
std::string_view name(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

template <class T>
struct dtype_of;
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<bf16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<f16> {
  static constexpr DType value = DType::f16;
};
template <>
struct dtype_of<int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct dtype_of<int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct dtype_of<bool> {
  static constexpr DType value = DType::boolean;
};

/// The type sums, norms and losses accumulate in: f64 for f64, f32 for the other floats.
template <class T>
struct accumulator {
  using type = float;
};
template <>
struct accumulator<double> {
  using type = double;
};
template <class T>
using accumulator_t = typename accumulator<T>::type;

/// The DType of `accumulator_t`.
constexpr DType accumulator_dtype(DType dtype) {
  return dtype == DType::f64 ? DType::f64 : DType::f32;
}

}  // namespace graft
