#include <cmath>

#include "graft/tensor/philox.h"
#include "graft/tensor/random.h"
#include "graft/tests/support/test.h"

namespace graft {

TEST_CASE("philox: the known answers of the reference implementation") {
  // Random123, kat_vectors: philox4x32 10.
  const PhiloxBlock zeros = philox(0, {{0, 0, 0, 0}});
  CHECK(zeros.words[0] == 0x6627e8d5u);
  CHECK(zeros.words[1] == 0xe169c58du);
  CHECK(zeros.words[2] == 0xbc57ac4cu);
  CHECK(zeros.words[3] == 0x9b00dbd8u);
  const PhiloxBlock ones = philox(~uint64_t{0}, {{~0u, ~0u, ~0u, ~0u}});
  CHECK(ones.words[0] == 0x408f276du);
  CHECK(ones.words[1] == 0x41c83b0eu);
  CHECK(ones.words[2] == 0xa20bc7c6u);
  CHECK(ones.words[3] == 0x6d5451fdu);
}

TEST_CASE("random: uniform and normal have the asked mean and deviation") {
  const int64_t n = 200000;
  const auto uniform = ops::uniform({n}, -2, 4, 1, 2, DType::f64).to_vector();
  const auto normal = ops::normal({n}, 3, 0.5, 1, 3, DType::f64).to_vector();
  const auto moments = [](const std::vector<double>& x) {
    double mean = 0, square = 0;
    for (const double value : x)
      mean += value / static_cast<double>(x.size());
    for (const double value : x)
      square += (value - mean) * (value - mean) / static_cast<double>(x.size());
    return std::pair(mean, std::sqrt(square));
  };
  // Five standard errors: deviation / sqrt(n) for a mean, about 0.7 of that for a deviation.
  CHECK(std::fabs(moments(uniform).first - 1) < 5 * std::sqrt(3.0) / std::sqrt(n));
  CHECK(std::fabs(moments(uniform).second - std::sqrt(3.0)) < 0.01);
  CHECK(std::fabs(moments(normal).first - 3) < 5 * 0.5 / std::sqrt(n));
  CHECK(std::fabs(moments(normal).second - 0.5) < 5 * 0.35 / std::sqrt(n));
}

TEST_CASE("random: uniform numbers lie in [low, high) also after rounding to the dtype") {
  struct Range {
    DType dtype;
    double low, high;
  };
  // Each has bounds that some of 20,000 draws would be rounded across.
  for (const auto [dtype, low, high] : {Range{DType::bf16, 0, 1},
                                        {DType::bf16, -1, 0},
                                        {DType::bf16, 0.1, 0.11},
                                        {DType::f16, 3, 4},
                                        {DType::f16, -0.0011, 0.0011},
                                        {DType::f32, 1e6, 1e6 + 1},
                                        {DType::f32, -0.1, -0.0999999},
                                        {DType::f64, 0x1p52, 0x1p52 + 1}}) {
    const auto drawn = ops::uniform({20000}, low, high, 1, 2, dtype).to_vector();
    const auto rounded = ops::uniform({20000}, low, high, 1, 2, DType::f64).to(dtype).to_vector();
    CAPTURE(dtype);
    CAPTURE(low);
    for (size_t i = 0; i < drawn.size(); ++i) {
      REQUIRE(drawn[i] >= low);
      REQUIRE(drawn[i] < high);
      if (rounded[i] >= low && rounded[i] < high)
        REQUIRE(drawn[i] == rounded[i]);
    }
  }
}

TEST_CASE("random: an empty or infinite range is refused") {
  for (const double high : {1.0, 0.5, std::nan(""), HUGE_VAL})
    test::check_contains(test::message_of<ConfigError>([&] { ops::uniform({1}, 1, high, 1, 2); }),
                         concat("uniform: [1, ", high, ") given"));
}

TEST_CASE("random: a seed and a stream name the numbers") {
  const Tensor a = ops::uniform({100}, 0, 1, 1, stream_of("a"));
  CHECK(test::same_bits(a, ops::uniform({100}, 0, 1, 1, stream_of("a"))));
  CHECK_FALSE(test::same_bits(a, ops::uniform({100}, 0, 1, 1, stream_of("b"))));
  CHECK_FALSE(test::same_bits(a, ops::uniform({100}, 0, 1, 2, stream_of("a"))));
  CHECK(test::same_bits(a.slice(0, 0, 50), ops::uniform({50}, 0, 1, 1, stream_of("a"))));
}

}  // namespace graft
