#include <vector>

#include "graft/io/checked.h"
#include "graft/io/checked_shape.h"
#include "graft/tests/support/test.h"

namespace graft::io {

TEST_CASE("checked arithmetic: gives the result, or nothing where it does not fit") {
  constexpr auto top = std::numeric_limits<uint64_t>::max();
  constexpr auto signed_top = std::numeric_limits<int64_t>::max();
  CHECK(checked_add<uint64_t>(top - 1, 1) == top);
  CHECK(checked_add<uint64_t>(top, 1) == std::nullopt);
  CHECK(checked_add<int64_t>(signed_top, 1) == std::nullopt);
  CHECK(checked_add<int64_t>(-signed_top, -2) == std::nullopt);
  CHECK(checked_mul<uint64_t>(uint64_t{1} << 32, (uint64_t{1} << 32) - 1) == top - 0xffffffffu);
  CHECK(checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 32) == std::nullopt);
  CHECK(checked_mul<int64_t>(int64_t{1} << 31, int64_t{1} << 32) == std::nullopt);
  CHECK(checked_mul<int64_t>(0, signed_top) == 0);
}

TEST_CASE("checked_align_up: rounds up, and its own sum does not wrap") {
  CHECK(checked_align_up<uint64_t>(0, 32) == 0u);
  CHECK(checked_align_up<uint64_t>(1, 32) == 32u);
  CHECK(checked_align_up<uint64_t>(64, 32) == 64u);
  CHECK(checked_align_up<uint64_t>(std::numeric_limits<uint64_t>::max() - 3, 32) == std::nullopt);
  CHECK(checked_align_up<uint64_t>(5, 0) == std::nullopt);
  CHECK(checked_align_up<int64_t>(-5, 8) == std::nullopt);
  CHECK(checked_align_up<int64_t>(std::numeric_limits<int64_t>::max(), 2) == std::nullopt);
}

TEST_CASE("checked_shape: gives a shape whose elements can be counted, or nothing") {
  constexpr uint64_t half = uint64_t{1} << 63;
  const auto shape = [](std::vector<uint64_t> sizes) { return checked_shape(sizes); };
  CHECK(shape({}) == Shape{});
  CHECK(shape({2, 0, 3}) == Shape{2, 0, 3});
  CHECK(shape({half - 1}) == Shape{std::numeric_limits<int64_t>::max()});
  CHECK(shape({half}) == std::nullopt);
  CHECK(shape({half - 1, 2}) == std::nullopt);
  // Strides and the shapes of parts have to fit too, where there is no element at all.
  CHECK(shape({half - 1, 2, 0}) == std::nullopt);
  CHECK(shape({0, half - 1, 2}) == std::nullopt);
  CHECK(shape({1, 1, 1, 1, 1, 1}) == Shape{1, 1, 1, 1, 1, 1});
  CHECK(shape({1, 1, 1, 1, 1, 1, 1}) == std::nullopt);
}

TEST_CASE("describe: says what the range allows") {
  CHECK(describe({}) == "an integer");
  CHECK(describe({.min = 1}) == "an integer of at least 1");
  CHECK(describe({.max = 7}) == "an integer of at most 7");
  CHECK(describe({.min = 0, .max = 7}) == "an integer from 0 to 7");
}

}  // namespace graft::io
