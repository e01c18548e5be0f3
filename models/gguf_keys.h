// GgufKeys: what is written into a GGUF file's metadata of the model of its architecture.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/gguf_write.h"

namespace graft::models {

/// Adds values under keys that begin with the architecture's name, as GgufMetadata reads them.
class GgufKeys {
 public:
  /// Refers to `values`, which must live longer.
  GgufKeys(io::GgufValues& values, std::string_view architecture)
      : values_(values), prefix_(std::string(architecture) + ".") {}

  void size(std::string_view name, int64_t value) {
    values_.add_u32(prefix_ + std::string(name), static_cast<uint32_t>(value));
  }
  void number(std::string_view name, double value) {
    values_.add_f32(prefix_ + std::string(name), static_cast<float>(value));
  }
  void text(std::string_view name, std::string_view value) {
    values_.add_text(prefix_ + std::string(name), value);
  }
  void booleans(std::string_view name, const std::vector<bool>& value) {
    values_.add_booleans(prefix_ + std::string(name), value);
  }

 private:
  io::GgufValues& values_;
  std::string prefix_;
};

}  // namespace graft::models
