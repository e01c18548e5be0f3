#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/tensor/dtype.h"
#include "graft/tensor/tensor.h"
#include "graft/tests/support/test.h"

namespace graft {

TEST_CASE("f16: every value survives the way to f32 and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    f16 value;
    value.bits = static_cast<uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide))
      CHECK(std::isnan(static_cast<float>(f16(wide))));
    else
      CHECK(f16(wide).bits == value.bits);
  }
}

TEST_CASE("f16: rounds to nearest even, overflows to infinity") {
  CHECK(f16(1.0f + 0x1p-11f).bits == f16(1.0f).bits);
  CHECK(static_cast<float>(f16(1.0f + 3 * 0x1p-11f)) == 1.0f + 4 * 0x1p-11f);
  CHECK(static_cast<float>(f16(65519.0f)) == 65504.0f);
  CHECK(std::isinf(static_cast<float>(f16(65520.0f))));
  CHECK(static_cast<float>(f16(0x1p-25f)) == 0.0f);
  CHECK(static_cast<float>(f16(0x1.8p-25f)) == 0x1p-24f);
}

TEST_CASE("bf16: rounds to nearest even, keeps NaN and infinity") {
  CHECK(bf16(1.0f + 0x1p-8f).bits == bf16(1.0f).bits);
  CHECK(static_cast<float>(bf16(1.0f + 3 * 0x1p-8f)) == 1.0f + 4 * 0x1p-8f);
  CHECK(std::isnan(static_cast<float>(bf16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isinf(static_cast<float>(bf16(std::numeric_limits<float>::infinity()))));
}

TEST_CASE("bf16, f16: an f64 is rounded once, not by way of f32") {
  // In f32 the last bit is rounded away, and what is left lies halfway: to even, downwards.
  CHECK(static_cast<float>(bf16(1 + 0x1p-8 + 0x1p-40)) == 1 + 0x1p-7f);
  CHECK(static_cast<float>(f16(1 + 0x1p-11 + 0x1p-40)) == 1 + 0x1p-10f);
  CHECK(static_cast<float>(f16(-(1 + 0x1p-11 + 0x1p-40))) == -(1 + 0x1p-10f));
  CHECK(static_cast<float>(f16(0x1p-25 + 0x1p-60)) == 0x1p-24f);
  // Here it is rounded up to halfway: to even, upwards.
  CHECK(static_cast<float>(bf16(1 + 3 * 0x1p-8 - 0x1p-40)) == 1 + 0x1p-7f);
  CHECK(static_cast<float>(f16(65520.0 - 0x1p-30)) == 65504.0f);
  // Through tensors as well.
  const Tensor x = Tensor::from<double>({1 + 0x1p-8 + 0x1p-40, 1 + 0x1p-11 + 0x1p-40}, {2});
  CHECK(x.to(DType::bf16).to_vector()[0] == 1 + 0x1p-7);
  CHECK(x.to(DType::f16).to_vector()[1] == 1 + 0x1p-10);
  CHECK(Tensor::full({}, 1 + 0x1p-8 + 0x1p-40, DType::bf16).item() == 1 + 0x1p-7);
}

TEST_CASE("bf16, f16: an f64 becomes the nearest value, ties to even, over the whole range") {
  // Walks the values of each format; the halfway points and their neighbours in f64 decide.
  const auto walk = [](auto zero, uint32_t largest) {
    using T = decltype(zero);
    const auto at = [](uint32_t bits) {
      T value;
      value.bits = static_cast<uint16_t>(bits);
      return value;
    };
    for (uint32_t bits = 0; bits < largest; ++bits) {
      const auto low = static_cast<double>(static_cast<float>(at(bits)));
      const auto high = static_cast<double>(static_cast<float>(at(bits + 1)));
      const double middle = low + (high - low) / 2;
      const uint32_t even = bits + bits % 2;
      REQUIRE(T(low).bits == bits);
      REQUIRE(T(middle).bits == even);
      REQUIRE(T(std::nextafter(middle, low)).bits == bits);
      REQUIRE(T(std::nextafter(middle, high)).bits == bits + 1);
      REQUIRE(T(-std::nextafter(middle, high)).bits == ((bits + 1) | 0x8000u));
    }
  };
  walk(bf16(), 0x7f7f);
  walk(f16(), 0x7bff);
}

TEST_CASE("bf16, f16: an f64 beyond the range is infinite, a NaN stays one") {
  for (const double value : {1e300, std::numeric_limits<double>::infinity()}) {
    CHECK(static_cast<float>(bf16(value)) == std::numeric_limits<float>::infinity());
    CHECK(static_cast<float>(f16(-value)) == -std::numeric_limits<float>::infinity());
  }
  CHECK(std::isnan(static_cast<float>(bf16(std::nan("")))));
  CHECK(std::isnan(static_cast<float>(f16(std::nan("")))));
  CHECK(f16(1e-300).bits == 0);
  CHECK(bf16(-1e-300).bits == 0x8000);
}

TEST_CASE("tensor: floats to integers cut off the fraction, saturate, and take NaN for 0") {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values{2.9,  -2.9,  -0.5, 300,  -300,
                                   1e30, -1e30, inf,  -inf, std::nan("")};
  for (const DType from : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor x = Tensor::from(values, {10}).to(from);
    CHECK(x.to(DType::u8).to_vector() == std::vector<double>{2, 0, 0, 255, 0, 255, 0, 255, 0, 0});
    const Tensor narrow = x.to(DType::i32);
    const int32_t most = std::numeric_limits<int32_t>::max();
    const int32_t least = std::numeric_limits<int32_t>::min();
    const std::vector<int32_t> narrow_expected{2, -2, 0, 300, -300, most, least, most, least, 0};
    CHECK(std::ranges::equal(narrow.span<int32_t>(), narrow_expected));
    const Tensor wide = x.to(DType::i64);
    const int64_t highest = std::numeric_limits<int64_t>::max();
    const int64_t lowest = std::numeric_limits<int64_t>::min();
    const std::vector<int64_t> wide_expected{2,       -2,     0,       300,    -300,
                                             highest, lowest, highest, lowest, 0};
    CHECK(std::ranges::equal(wide.span<int64_t>(), wide_expected));
  }
  // The largest f32 and f64 below 2^31 and 2^63 are kept.
  CHECK(Tensor::full({}, 2147483520, DType::f32).to(DType::i32).item() == 2147483520);
  CHECK(Tensor::full({}, 9223372036854774784.0, DType::f64).to(DType::i64).data<int64_t>()[0] ==
        9223372036854774784);
}

}  // namespace graft
