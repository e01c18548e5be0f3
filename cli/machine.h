// The machine the command runs on, as Linux describes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graft::cli {

struct Machine {
  std::string cpu;                    ///< "AMD EPYC 9654 96-Core Processor"; "unknown" otherwise
  std::vector<std::string> features;  ///< those kernels care about, e.g. "avx2"
  int processors = 1;                 ///< that this process may use
  int64_t memory = 0;                 ///< bytes; of the container where it has less
  int64_t memory_available = 0;       ///< bytes that programs may still take
  std::string system;                 ///< "Linux 6.1.0 x86_64"
};

Machine this_machine();

/// The most bytes of memory this process has held so far.
int64_t peak_resident_bytes();

}  // namespace graft::cli
