// Writing GGUF files, version 3: metadata in the order in which they were added, tensors behind
// them. The bytes are those that Python's gguf package writes for the same values and tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/file.h"
#include "graft/io/gguf.h"
#include "graft/tensor/shape.h"

namespace graft::io {

/// Metadata of a file in the making. Each key may be added once; a second time is a ConfigError.
class GgufValues {
 public:
  void add_u32(std::string_view key, uint32_t value);
  void add_f32(std::string_view key, float value);
  void add_boolean(std::string_view key, bool value);
  void add_text(std::string_view key, std::string_view value);
  void add_i32s(std::string_view key, std::span<const int32_t> values);
  void add_f32s(std::string_view key, std::span<const float> values);
  void add_booleans(std::string_view key, const std::vector<bool>& values);
  void add_texts(std::string_view key, std::span<const std::string> values);

  bool has(std::string_view key) const { return keys_.contains(std::string(key)); }
  uint64_t count() const { return keys_.size(); }
  /// Keys, types and values as they stand in the file.
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufType type);
  void begin_array(std::string_view key, GgufType element, size_t count);

  std::set<std::string> keys_;
  std::string bytes_;
};

/// A tensor that is written when its turn comes, so that only one need be in memory.
struct GgufTensorOut {
  std::string name;
  /// ggml's number of the type.
  uint32_t type = 0;
  /// Outermost first, as in GgufTensor.
  Shape shape;
  /// Writes exactly the tensor's bytes.
  std::function<void(FileWriter& out)> write;
};

/// The bytes that a tensor takes in a file, without padding. Throws ConfigError where ggml has no
/// such type or a row is not whole blocks of it.
int64_t gguf_nbytes(const GgufTensorOut& tensor);

/// Writes a whole file into `out`, which is empty. Throws ConfigError where a tensor cannot be in
/// a file or two have one name, IoError.
void write_gguf(FileWriter& out, const GgufValues& values, std::span<const GgufTensorOut> tensors);

}  // namespace graft::io
