// Storage: one block of a device's memory, shared by the tensors that view it.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "graft/tensor/device.h"

namespace graft {

/// A block of bytes. Held by shared_ptr; freed with its last tensor. Reading from several threads
/// is safe, writing is the caller's business.
class Storage {
 public:
  /// Uninitialised memory of the device's allocator.
  Storage(size_t nbytes, Device device);
  /// Memory of somebody else (a mapped file): `owner` is kept until the last tensor is gone. Must
  /// not be written to.
  Storage(const void* data, size_t nbytes, std::shared_ptr<const void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  size_t nbytes() const { return nbytes_; }
  Device device() const { return device_; }
  /// True where the memory is not the allocator's.
  bool is_external() const { return external_; }

  /// Counts the backward closures that keep this storage; the allocator's `saved` sees it once.
  void add_saved() noexcept;
  void remove_saved() noexcept;

 private:
  void* data_ = nullptr;
  size_t nbytes_ = 0;
  Device device_;
  bool external_ = false;
  std::shared_ptr<const void> owner_;
  std::atomic<int> saved_{0};
};

}  // namespace graft
