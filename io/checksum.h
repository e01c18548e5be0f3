// XXH64 checksums: do bytes read back equal those that were written? No protection against people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace graft::io {

/// A checksum in the making.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  /// The numbers and how many there are.
  void add(std::span<const int64_t> numbers);
  /// Of all that was added: 16 hexadecimal digits.
  std::string text() const;
  /// The same as a number.
  uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string checksum_of(std::string_view text);
/// Of a file's content, read piece by piece. Throws IoError.
std::string checksum_of_file(const std::filesystem::path& path);

}  // namespace graft::io
