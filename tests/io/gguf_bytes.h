// GGUF files made byte by byte, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/tests/io/bytes.h"

namespace graft::test {

inline std::string gguf_text(std::string_view text) {
  return raw(uint64_t{text.size()}) + std::string(text);
}

/// A key with a value of a type; `value` is the value's bytes.
inline std::string gguf_value(std::string_view key, uint32_t type, std::string_view value) {
  return gguf_text(key) + raw(type) + std::string(value);
}

/// The description of a tensor, sizes innermost first.
inline std::string gguf_tensor(std::string_view name, const std::vector<uint64_t>& sizes,
                               uint32_t type, uint64_t offset) {
  std::string bytes = gguf_text(name) + raw(static_cast<uint32_t>(sizes.size()));
  for (const uint64_t size : sizes)
    bytes += raw(size);
  return bytes + raw(type) + raw(offset);
}

/// A file of these values and tensors, the data behind the next multiple of 32.
struct GgufBytes {
  uint32_t version = 3;
  std::vector<std::string> values = {};
  std::vector<std::string> tensors = {};
  std::string data = {};

  std::string bytes() const {
    std::string result =
        "GGUF" + raw(version) + raw(uint64_t{tensors.size()}) + raw(uint64_t{values.size()});
    for (const std::string& value : values)
      result += value;
    for (const std::string& tensor : tensors)
      result += tensor;
    if (!data.empty())
      result.resize((result.size() + 31) / 32 * 32);
    return result + data;
  }
};

}  // namespace graft::test
