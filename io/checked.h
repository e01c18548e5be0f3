// Numbers that come from files: arithmetic whose overflow is seen before the result is used.
//
// The functions return nothing where the true result does not fit, so that the caller can throw a
// FormatError with file and offset. Loaders do no other arithmetic on sizes.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace graft::io {

/// Inclusive limits of an integer in a file.
struct IntegerRange {
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
};

/// "an integer from 0 to 7", "an integer of at least 1": for messages.
std::string describe(IntegerRange range);

template <class T>
concept FileSize = std::same_as<T, uint64_t> || std::same_as<T, int64_t>;

/// a + b, or nothing where it does not fit.
template <FileSize T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum{};
  if (__builtin_add_overflow(a, b, &sum))
    return std::nullopt;
  return sum;
}

/// a * b, or nothing where it does not fit.
template <FileSize T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T product{};
  if (__builtin_mul_overflow(a, b, &product))
    return std::nullopt;
  return product;
}

/// The smallest multiple of `alignment` that is not below `value`, or nothing where it does not fit
/// or `alignment` is not above zero.
template <FileSize T>
constexpr std::optional<T> checked_align_up(T value, T alignment) {
  if (alignment <= 0 || value < 0)
    return std::nullopt;
  const T rest = value % alignment;
  return rest == 0 ? std::optional<T>(value) : checked_add(value, static_cast<T>(alignment - rest));
}

}  // namespace graft::io
