// Files made byte by byte, for tests of readers.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>

#include "graft/tests/support/test.h"

namespace graft::test {

inline void put_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::remove(path);  // ext4 writes a file that is truncated to the disk at once
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A file that is no folder's: for tests that make thousands.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes)
      : descriptor_(memfd_create("graft-test", MFD_CLOEXEC)) {
    REQUIRE(descriptor_ >= 0);
    REQUIRE(::write(descriptor_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// The bytes of a number, little-endian.
template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// A safetensors file: the header's length, the header as it is given, the data.
inline std::string safetensors_bytes(std::string_view header, std::string_view data = "") {
  return raw(uint64_t{header.size()}) + std::string(header) + std::string(data);
}

/// Offset that a message "…: at byte N: …" names, or -1.
inline int64_t offset_in(const std::string& message) {
  const std::string mark = ": at byte ";
  const size_t at = message.find(mark);
  return at == std::string::npos ? -1 : std::stoll(message.substr(at + mark.size()));
}

}  // namespace graft::test
