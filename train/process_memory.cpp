#include "graft/train/process_memory.h"

#include <fstream>
#include <unistd.h>

namespace graft::train {

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all_pages = 0;
  int64_t resident_pages = 0;
  file >> all_pages >> resident_pages;
  return file ? resident_pages * ::sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace graft::train
