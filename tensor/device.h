// Where a tensor lives.
#pragma once

#include <cstdint>
#include <ostream>

namespace graft {

/// Kinds of device. The values are part of the plug-in ABI.
enum class DeviceKind : uint8_t { cpu = 0, cuda = 1 };
inline constexpr int device_kind_count = 2;

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int8_t index = 0;
  friend bool operator==(Device, Device) = default;
};

inline constexpr Device cpu{};

inline std::ostream& operator<<(std::ostream& out, Device device) {
  if (device.kind == DeviceKind::cpu)
    return out << "cpu";
  return out << "cuda:" << int{device.index};
}

}  // namespace graft
