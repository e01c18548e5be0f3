#include "graft/tests/fuzz/fuzz.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

namespace graft::fuzz {

void require(bool holds, const char* promise) {
  if (holds)
    return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

FuzzedFile::FuzzedFile(const std::string& name) {
  std::string folder = std::filesystem::temp_directory_path() / "graft-fuzz-XXXXXX";
  require(::mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  descriptor_ = ::memfd_create("graft-fuzz", MFD_CLOEXEC);
  require(descriptor_ >= 0, "a file in memory can be made");
  path_ = std::filesystem::path(folder) / name;
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(descriptor_), path_);
}

FuzzedFile::~FuzzedFile() {
  ::close(descriptor_);
  std::filesystem::remove_all(folder());
}

void FuzzedFile::put(std::string_view content) {
  require(::ftruncate(descriptor_, 0) == 0, "a file in memory can be cut");
  const auto size = static_cast<ssize_t>(content.size());
  require(::pwrite(descriptor_, content.data(), content.size(), 0) == size,
          "a file in memory can be written");
}

}  // namespace graft::fuzz
