// The 256 values of bitsandbytes' 8-bit "dynamic" data type (Dettmers 2016, arXiv:1511.04561): few
// bits of fraction for small numbers, many for large ones. It holds the scales of double
// quantisation and the state of 8-bit optimizers.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace graft::quant {

using DynamicMap = std::array<float, 256>;

/// Ascending from -0.99296875 to 1; entry 127 is 0.
const DynamicMap& signed_dynamic_map();
/// Ascending from 0 to 1.
const DynamicMap& unsigned_dynamic_map();

/// Finds the entry of an ascending map that is nearest to a number.
class NearestEntry {
 public:
  explicit NearestEntry(const DynamicMap& map);

  /// The index of the nearest entry, of two equally near the even one; beyond the ends the end.
  /// Requires: x is not NaN.
  uint8_t operator()(float x) const;

 private:
  /// The last number that still belongs to entry i rather than to i + 1; infinity for the last one.
  std::array<float, 256> last_;
  /// By the leading bits of a number: the entry of the least number with those bits.
  std::vector<uint8_t> first_;
};

/// The same for the two maps above, made once.
const NearestEntry& nearest_signed_entry();
const NearestEntry& nearest_unsigned_entry();

}  // namespace graft::quant
