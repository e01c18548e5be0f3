#include <cmath>
#include <limits>

#include "graft/tensor/dtype.h"
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

}  // namespace graft
