// Running a test once for each kernel of a slot.
#pragma once

#include <functional>

#include "graft/tensor/slot.h"

namespace graft::test {

/// Calls body once with each CPU kernel of the slot asked first. Kernels that say `unsupported`
/// fall through as usual, so body holds whatever is asked.
void for_each_kernel(SlotBase& slot, const std::function<void()>& body);

}  // namespace graft::test
