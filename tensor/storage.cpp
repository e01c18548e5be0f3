#include "graft/tensor/storage.h"

#include <utility>

#include "graft/tensor/allocator.h"

namespace graft {

Storage::Storage(size_t nbytes, Device device)
    : data_(allocator(device).allocate(nbytes)), nbytes_(nbytes), device_(device) {}

Storage::Storage(const void* data, size_t nbytes, std::shared_ptr<const void> owner)
    : data_(const_cast<void*>(data)), nbytes_(nbytes), external_(true), owner_(std::move(owner)) {}

Storage::~Storage() {
  if (!external_)
    allocator(device_).release(data_, nbytes_);
}

void Storage::add_saved() noexcept {
  if (saved_.fetch_add(1) == 0 && !external_)
    allocator(device_).count_saved(static_cast<int64_t>(nbytes_));
}

void Storage::remove_saved() noexcept {
  if (saved_.fetch_sub(1) == 1 && !external_)
    allocator(device_).count_saved(-static_cast<int64_t>(nbytes_));
}

}  // namespace graft
