#include "graft/tests/support/kernels.h"

#include <cstddef>

#include "doctest/doctest.h"

namespace graft::test {

void for_each_kernel(SlotBase& slot, const std::function<void()>& body) {
  registry();
  const size_t count = slot.kernels(DeviceKind::cpu).size();
  for (size_t i = 0; i < count; ++i) {
    // The order is 0 … n-1, the last is asked first; each turn brings the next one there.
    slot.rotate(DeviceKind::cpu);
    CAPTURE(std::string(slot.kernels(DeviceKind::cpu).back().name));
    body();
  }
}

}  // namespace graft::test
