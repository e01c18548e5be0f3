// Writes GGUF files for tests: metadata and tensors that need not fit each other.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::test {

/// A value of metadata: u32, f32, a text or an array of truth values.
using GgufAny = std::variant<uint32_t, float, std::string, std::vector<bool>>;
using GgufMetadata = std::vector<std::pair<std::string, GgufAny>>;

/// A tensor with its bytes as the file has them; `type` is ggml's number.
struct GgufTensorBytes {
  std::string name;
  uint32_t type = 0;
  Shape shape;
  std::string bytes;
};

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class GgufBuilder {
 public:
  void write(const std::filesystem::path& path, const GgufMetadata& metadata,
             const std::vector<GgufTensorBytes>& tensors) {
    out_ = "GGUF";
    put(uint32_t{3});
    put(uint64_t{tensors.size()});
    put(uint64_t{metadata.size()});
    for (const auto& [key, value] : metadata) {
      put_text(key);
      constexpr uint32_t types[] = {4, 6, 8, 9};  // u32, f32, text, array
      put(types[value.index()]);
      std::visit([&](const auto& held) { put_value(held); }, value);
    }
    uint64_t offset = 0;
    for (const GgufTensorBytes& tensor : tensors) {
      put_text(tensor.name);
      put(static_cast<uint32_t>(tensor.shape.rank()));
      for (int i = tensor.shape.rank() - 1; i >= 0; --i)
        put(static_cast<uint64_t>(tensor.shape[i]));
      put(tensor.type);
      put(offset);
      offset += aligned(tensor.bytes.size());
    }
    out_.resize(aligned(out_.size()));
    for (const GgufTensorBytes& tensor : tensors) {
      out_ += tensor.bytes;
      out_.resize(aligned(out_.size()));
    }
    std::ofstream(path, std::ios::binary) << out_;
  }

 private:
  static size_t aligned(size_t size) { return (size + 31) / 32 * 32; }
  template <class T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put_text(const std::string& text) {
    put(uint64_t{text.size()});
    out_ += text;
  }
  void put_value(const std::string& text) { put_text(text); }
  void put_value(const std::vector<bool>& values) {
    put(uint32_t{7});
    put(uint64_t{values.size()});
    for (const bool value : values)
      put(static_cast<uint8_t>(value));
  }
  template <class T>
  void put_value(T value) {
    put(value);
  }

  std::string out_;
};

}  // namespace graft::test
