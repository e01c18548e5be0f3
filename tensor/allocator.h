// Memory of a device: handed out in 64-byte aligned blocks, kept in size classes for reuse,
// counted.
//
// Freed blocks stay with the allocator for requests of their size. All unused ones are given back
// when a request to the system would bring what is reserved above the highest use so far by more
// than a quarter: steps of ever new sizes, as with batches of every length, would pile them up. A
// loop of equal steps whose blocks stay within that, as those of a training step do by far, asks
// the system for nothing new after the first ones. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graft/tensor/device.h"

namespace graft {

/// Byte counts of one allocator. `saved` is the part of `current` that backward closures hold,
/// each storage counted once.
struct MemoryStats {
  int64_t current = 0;          ///< handed out now
  int64_t peak = 0;             ///< highest `current` since the last reset_peak()
  int64_t reserved = 0;         ///< taken from the system: handed out or kept for reuse
  int64_t saved = 0;            ///< kept for backward now
  int64_t system_requests = 0;  ///< how often the system was asked
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  /// At least `nbytes` of uninitialised memory, aligned to 64 bytes. Throws OutOfMemory with sizes.
  virtual void* allocate(size_t nbytes) = 0;
  /// Gives back what `allocate(nbytes)` returned.
  virtual void release(void* data, size_t nbytes) noexcept = 0;
  virtual MemoryStats stats() const = 0;
  /// Starts a new phase: `peak` becomes `current`.
  virtual void reset_peak() = 0;
  /// Returns unused blocks to the system.
  virtual void trim() = 0;
  /// Counts bytes that start (positive) or stop (negative) being kept for backward.
  virtual void count_saved(int64_t nbytes) noexcept = 0;
};

/// The allocator of a device. Throws DeviceError where the device has none.
Allocator& allocator(Device device);

}  // namespace graft
