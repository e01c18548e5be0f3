// Helpers shared by the portable CPU kernels: from a runtime dtype to a template argument.
#pragma once

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

/// Converts between any two element types; through float or double where a 16-bit float is
/// involved.
template <class To, class From>
To convert(From value) {
  constexpr bool from_half = std::is_same_v<From, bf16> || std::is_same_v<From, f16>;
  constexpr bool to_half = std::is_same_v<To, bf16> || std::is_same_v<To, f16>;
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (from_half) {
    return convert<To>(static_cast<float>(value));
  } else if constexpr (to_half) {
    return To(static_cast<float>(value));
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
