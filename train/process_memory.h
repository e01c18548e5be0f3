// How much memory the process has.
#pragma once

#include <cstdint>

namespace graft::train {

/// Bytes of physical memory the process uses now, as the operating system counts; 0 where it does
/// not say.
int64_t resident_bytes();

}  // namespace graft::train
