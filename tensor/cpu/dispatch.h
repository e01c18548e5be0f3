// Helpers shared by the portable CPU kernels: from a runtime dtype to a template argument.
#pragma once

#include <limits>
#include <type_traits>
#include <utility>

#include "graft/tensor/dtype.h"
#include "graft/tensor/slot.h"

namespace graft::cpu_kernels {

/// Calls body.template operator()<T>() with the element type; body returns a KernelStatus.
template <class Body>
KernelStatus visit(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64:
      return body.template operator()<double>();
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f16:
      return body.template operator()<f16>();
    case DType::i64:
      return body.template operator()<int64_t>();
    case DType::i32:
      return body.template operator()<int32_t>();
    case DType::u8:
      return body.template operator()<uint8_t>();
    case DType::boolean:
      return body.template operator()<bool>();
  }
  return KernelStatus::unsupported;
}

/// The same for floating dtypes; others are unsupported.
template <class Body>
KernelStatus visit_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f64:
      return body.template operator()<double>();
    case DType::f32:
      return body.template operator()<float>();
    case DType::bf16:
      return body.template operator()<bf16>();
    case DType::f16:
      return body.template operator()<f16>();
    default:
      return KernelStatus::unsupported;
  }
}

/// A float as an integer: the fraction is cut off, what is out of range becomes the nearest bound,
/// NaN becomes 0. (The plain cast is undefined there.)
template <class To, class From>
To saturate(From value) {
  using Limits = std::numeric_limits<To>;
  constexpr From low = static_cast<From>(Limits::min());
  constexpr From above = 2 * static_cast<From>(Limits::max() / 2 + 1);  // 2^n, as max() is 2^n - 1
  if (value != value)
    return 0;
  if (value >= above)
    return Limits::max();
  return value <= low ? Limits::min() : static_cast<To>(value);
}

/// Converts between any two element types. To floats: rounds to nearest even, integers to 16 bits
/// by way of f64. Floats to integers: as saturate(). Integers to narrower ones keep the low bits;
/// to bool, all but 0 is true.
template <class To, class From>
To convert(From value) {
  constexpr bool from_half = std::is_same_v<From, bf16> || std::is_same_v<From, f16>;
  constexpr bool to_half = std::is_same_v<To, bf16> || std::is_same_v<To, f16>;
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (from_half) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (to_half) {
    if constexpr (std::is_floating_point_v<From>)
      return To(value);
    else
      return To(static_cast<double>(value));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To> &&
                       !std::is_same_v<To, bool>) {
    return saturate<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

/// True where all views are row-major.
template <class... Views>
bool contiguous(const Views&... views) {
  return (views.is_contiguous() && ...);
}

}  // namespace graft::cpu_kernels
