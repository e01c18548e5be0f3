#include "graft/io/checksum.h"

#include <algorithm>
#include <array>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "graft/io/file.h"

namespace graft::io {

struct Checksum::State {
  XXH64_state_t xxh64;
};

Checksum::Checksum() : state_(std::make_unique<State>()) {
  XXH64_reset(&state_->xxh64, 0);
}

Checksum::~Checksum() = default;

void Checksum::add(std::span<const std::byte> bytes) {
  if (!bytes.empty())
    XXH64_update(&state_->xxh64, bytes.data(), bytes.size());
}

void Checksum::add(std::span<const int64_t> numbers) {
  const auto count = static_cast<int64_t>(numbers.size());
  add(std::as_bytes(std::span(&count, 1)));
  add(std::as_bytes(numbers));
}

uint64_t Checksum::value() const {
  return XXH64_digest(&state_->xxh64);
}

std::string Checksum::text() const {
  uint64_t value = this->value();
  std::string digits(16, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, value >>= 4)
    *digit = "0123456789abcdef"[value & 15];
  return digits;
}

std::string checksum_of(std::string_view text) {
  Checksum checksum;
  checksum.add(text);
  return checksum.text();
}

std::string checksum_of_file(const std::filesystem::path& path) {
  constexpr int64_t piece = int64_t{1} << 20;
  const InputFile file(path);
  std::vector<std::byte> buffer(static_cast<size_t>(std::min(file.size(), piece)));
  Checksum checksum;
  for (int64_t offset = 0; offset < file.size();) {
    const auto part =
        std::span(buffer).first(static_cast<size_t>(std::min(file.size() - offset, piece)));
    file.read(offset, part);
    checksum.add(part);
    offset += static_cast<int64_t>(part.size());
  }
  return checksum.text();
}

}  // namespace graft::io
