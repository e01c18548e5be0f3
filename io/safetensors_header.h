// The header of a safetensors file: its dtypes and its checks. For the file layer's own .cpp files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/safetensors.h"

namespace graft::io {

/// Longest header, in bytes, that the reference reads or writes.
inline constexpr uint64_t max_safetensors_header = 100'000'000;

/// One dtype of the format.
struct SafetensorsDType {
  std::string_view name;
  uint64_t bits = 0;
  std::optional<DType> dtype;  ///< nothing where graft has no such dtype
};

/// All dtypes, in the reference's order: tensors are written by it, last first.
std::span<const SafetensorsDType> safetensors_dtypes();

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Parses and checks the header `text`, which stands at byte 8 of a file of `file_size` bytes.
/// Throws FormatError.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::string_view file,
                                           int64_t file_size);

}  // namespace graft::io
