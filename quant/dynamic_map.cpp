#include "graft/quant/dynamic_map.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace graft::quant {
namespace {

/// Bits of a number that the table of first entries does not look at: with sign, exponent and six
/// bits of the fraction a step or two are left to go.
constexpr int dropped_bits = 17;
constexpr uint32_t dropped_mask = (uint32_t{1} << dropped_bits) - 1;

/// The magnitudes of one power of ten: the middles of `count` equal parts of [0.1, 1], times
/// 10^exponent. The boundaries of the parts are rounded as torch.linspace rounds them: from the
/// nearer end, one rounding each.
void add_decade(int count, int exponent, std::vector<float>& values) {
  const float first = 0.1F;
  const float step = (1.0F - first) / static_cast<float>(count);
  const auto boundary = [&](int k) {
    return k < (count + 1) / 2 ? std::fma(step, static_cast<float>(k), first)
                               : std::fma(-step, static_cast<float>(count - k), 1.0F);
  };
  const auto scale = static_cast<float>(std::pow(10.0, exponent));
  for (int k = 0; k < count; ++k)
    values.push_back(scale * ((boundary(k) + boundary(k + 1)) / 2));
}

DynamicMap make_map(bool has_sign) {
  constexpr int decades = 7;
  std::vector<float> values{0.0F, 1.0F};
  for (int i = 0; i < decades; ++i) {
    const size_t before = values.size();
    add_decade(1 << (has_sign ? i : i + 1), i + 1 - decades, values);
    if (has_sign) {
      for (size_t k = before, end = values.size(); k < end; ++k)
        values.push_back(-values[k]);
    }
  }
  std::ranges::sort(values);
  DynamicMap map{};
  std::ranges::copy(values, map.begin());
  return map;
}

}  // namespace

const DynamicMap& signed_dynamic_map() {
  static const DynamicMap map = make_map(true);
  return map;
}

const DynamicMap& unsigned_dynamic_map() {
  static const DynamicMap map = make_map(false);
  return map;
}

NearestEntry::NearestEntry(const DynamicMap& map) : first_(size_t{1} << (32 - dropped_bits)) {
  last_.fill(std::numeric_limits<float>::infinity());
  for (size_t i = 0; i + 1 < map.size(); ++i) {
    const double middle = (static_cast<double>(map[i]) + static_cast<double>(map[i + 1])) / 2;
    last_[i] = static_cast<float>(middle);
    const bool is_shared = static_cast<double>(last_[i]) == middle;
    if (last_[i] > middle || (is_shared && i % 2 == 1))
      last_[i] = std::nextafter(last_[i], -1.0F);
  }
  for (size_t bits = 0; bits < first_.size(); ++bits) {
    const auto low = static_cast<uint32_t>(bits << dropped_bits);
    const bool is_negative = (low >> 31) != 0;
    const auto least = std::bit_cast<float>(is_negative ? low | dropped_mask : low);
    if (least == least)
      first_[bits] = static_cast<uint8_t>(std::ranges::lower_bound(last_, least) - last_.begin());
  }
}

uint8_t NearestEntry::operator()(float x) const {
  size_t entry = first_[std::bit_cast<uint32_t>(x) >> dropped_bits];
  while (x > last_[entry])
    ++entry;
  return static_cast<uint8_t>(entry);
}

const NearestEntry& nearest_signed_entry() {
  static const NearestEntry nearest(signed_dynamic_map());
  return nearest;
}

const NearestEntry& nearest_unsigned_entry() {
  static const NearestEntry nearest(unsigned_dynamic_map());
  return nearest;
}

}  // namespace graft::quant
