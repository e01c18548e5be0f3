// F13: memory that cannot be had, at each of the allocations that reading a file makes.
#include <cstdlib>
#include <new>

#include "graft/tensor/error.h"
#include "graft/tests/faults/faults.h"
#include "graft/tests/faults/file_kinds.h"

namespace {

/// Allocations of this thread that are still granted; below 0: all.
thread_local int64_t granted = -1;

}  // namespace

// What the standard containers allocate with in this program.
void* operator new(size_t size) {
  if (granted >= 0 && granted-- == 0)
    throw std::bad_alloc();
  if (void* data = std::malloc(size > 0 ? size : 1))
    return data;
  throw std::bad_alloc();
}
void operator delete(void* data) noexcept {
  std::free(data);
}
void operator delete(void* data, size_t) noexcept {
  std::free(data);
}

using namespace graft;
using namespace graft::test;

namespace {

/// True where the file is read with so many allocations, false where there were too few.
bool is_read(const FileKind& kind, const ChangingFile& file, int64_t allocations) {
  granted = allocations;
  bool read = true;
  try {
    kind.read(file.path());
  } catch (const std::bad_alloc&) {
    read = false;
  } catch (...) {
    granted = -1;
    throw;
  }
  granted = -1;
  return read;
}

}  // namespace

TEST_CASE(
    "F13: whichever allocation fails while a file is read, that is said and all is as before") {
  int64_t failed = 0;
  for (const FileKind& kind : file_kinds()) {
    // The others become trees of nlohmann's, whose destructor allocates, and ends the process where
    // it cannot.
    if (kind.is_tree)
      continue;
    CAPTURE(kind.name);
    const ChangingFile file(kind);
    int64_t needed = 1;
    while (!is_read(kind, file, needed))
      needed *= 2;
    const int64_t stride = rounds(1 + needed / 200, 1);
    for (int64_t allocations = 0; !is_read(kind, file, allocations); allocations += stride)
      ++failed;
    CHECK(is_read(kind, file, -1));
  }
  report("F13", concat(failed, " allocations that failed, each with an error that says so"));
}
