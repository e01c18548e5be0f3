#include "graft/tensor/slot.h"

#include <algorithm>

#include "graft/tensor/error.h"

namespace graft {

std::vector<SlotBase::Kernel> SlotBase::kernels(DeviceKind kind) const {
  const auto& row = kernels_[static_cast<size_t>(kind)];
  return {row.begin(), row.begin() + counts_[static_cast<size_t>(kind)]};
}

void SlotBase::call(Device device, const void* args) const {
  registry();  // fills the slots on first use
  const auto kind = static_cast<size_t>(device.kind);
  for (int i = counts_[kind] - 1; i >= 0; --i) {
    if (kernels_[kind][static_cast<size_t>(i)].run(args) == KernelStatus::done)
      return;
  }
  GRAFT_CHECK(counts_[kind] > 0, DeviceError, name_, ": no kernel for device ", device);
  throw DTypeError(
      concat(name_, ": no kernel of device ", device, " takes these dtypes, shapes and layouts"));
}

void SlotBase::add(DeviceKind kind, Kernel kernel) {
  int& count = counts_[static_cast<size_t>(kind)];
  GRAFT_CHECK(count < max_kernels, ConfigError, name_, ": more than ", max_kernels, " kernels");
  kernels_[static_cast<size_t>(kind)][static_cast<size_t>(count++)] = kernel;
}

void SlotBase::rotate(DeviceKind kind) {
  auto& row = kernels_[static_cast<size_t>(kind)];
  const int count = counts_[static_cast<size_t>(kind)];
  if (count > 1)
    std::rotate(row.begin(), row.begin() + 1, row.begin() + count);
}

void Registry::declare(SlotBase& slot) {
  if (find(slot.name()) == nullptr)
    slots_.push_back(&slot);
}

SlotBase* Registry::find(std::string_view name) const {
  const auto it = std::ranges::find(slots_, name, &SlotBase::name);
  return it == slots_.end() ? nullptr : *it;
}

Registry& registry() {
  static Registry& instance = *[] {
    auto* filled = new Registry;
    register_built_in_kernels(*filled);
    return filled;
  }();
  return instance;
}

}  // namespace graft
