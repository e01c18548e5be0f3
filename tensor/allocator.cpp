#include "graft/tensor/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <vector>

#include "graft/tensor/error.h"

namespace graft {
namespace {

constexpr size_t alignment = 64;
/// Of the larger pages that Linux has for blocks that ask for them. With pages of 4 KiB products
/// spend a tenth of their time on finding addresses.
constexpr size_t huge_page = size_t{2} << 20;

/// Rounds up to one of eight sizes per power of two, and to multiples of 64: of a block of at least
/// 512 bytes less than an eighth is unused, of a smaller one less than 64 bytes.
size_t size_class(size_t nbytes) {
  const size_t size = std::max(nbytes, alignment);
  const size_t step = std::max(alignment, std::bit_floor(size) / 8);
  return (size + step - 1) / step * step;
}

/// Memory from the system, nullptr where it has no more. Asks for huge pages as far as they are
/// full, so that no more becomes resident than is used.
void* request(size_t size) {
  if (size < huge_page)
    return std::aligned_alloc(alignment, size);
  void* data = nullptr;
  if (posix_memalign(&data, huge_page, size) != 0)
    return nullptr;
  // Without them everything works as well, only slower.
  madvise(data, size / huge_page * huge_page, MADV_HUGEPAGE);
  return data;
}

class CpuAllocator final : public Allocator {
 public:
  void* allocate(size_t nbytes) override {
    GRAFT_CHECK(nbytes <= SIZE_MAX / 2, OutOfMemory, "cpu memory: ", nbytes, " bytes asked for");
    const size_t size = size_class(nbytes);
    const std::lock_guard lock(mutex_);
    void* data = take(size);
    stats_.current += static_cast<int64_t>(size);
    most_ = std::max(most_, stats_.current);
    stats_.peak = std::max(stats_.peak, stats_.current);
    return data;
  }

  void release(void* data, size_t nbytes) noexcept override {
    const size_t size = size_class(nbytes);
    const std::lock_guard lock(mutex_);
    stats_.current -= static_cast<int64_t>(size);
    free_[size].push_back(data);
  }

  MemoryStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.current;
  }

  void trim() override {
    const std::lock_guard lock(mutex_);
    release_unused();
  }

  void count_saved(int64_t nbytes) noexcept override {
    const std::lock_guard lock(mutex_);
    stats_.saved += nbytes;
  }

 private:
  void* take(size_t size) {
    if (const auto it = free_.find(size); it != free_.end() && !it->second.empty()) {
      void* data = it->second.back();
      it->second.pop_back();
      return data;
    }
    // Batches of many lengths need blocks of many sizes: those of earlier ones must not pile up. In
    // a small transformer with lengths drawn from 16 to 512, this holds the reserve at the peak
    // where it would grow to nine times that, for about 90 requests a step and no time that was
    // seen.
    const int64_t needed = stats_.current + static_cast<int64_t>(size);
    if (stats_.reserved + static_cast<int64_t>(size) > std::max(most_, needed) / 4 * 5)
      release_unused();
    void* data = request(size);
    if (data == nullptr) {
      release_unused();
      data = request(size);
    }
    GRAFT_CHECK(data != nullptr, OutOfMemory, "cpu memory: ", size, " bytes asked for, ",
                stats_.current,
                " in use, the system has no more; try a smaller batch, shorter "
                "sequences or gradient checkpointing");
    stats_.reserved += static_cast<int64_t>(size);
    ++stats_.system_requests;
    return data;
  }

  void release_unused() {
    for (auto& [size, blocks] : free_) {
      for (void* data : blocks)
        std::free(data);
      stats_.reserved -= static_cast<int64_t>(size * blocks.size());
    }
    free_.clear();
  }

  mutable std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  MemoryStats stats_;
  int64_t most_ = 0;  // highest `current` ever
};

}  // namespace

Allocator& allocator(Device device) {
  GRAFT_CHECK(device.kind == DeviceKind::cpu, DeviceError, "memory: no allocator for device ",
              device);
  // Never destroyed: tensors of static lifetime may still give memory back during exit.
  static CpuAllocator& cpu_allocator = *new CpuAllocator;
  return cpu_allocator;
}

}  // namespace graft
