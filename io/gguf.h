// GGUF files, versions 2 and 3: metadata and tensors in one mapped file.
//
// Every length is compared with the bytes that remain before it is used, every tensor's place and
// size with its shape and with the file. Values are decoded when they are asked for; the file stays
// mapped, so it must not be cut short while it is open. What the blocks of a quantised tensor mean
// is quant's business (quant/gguf_blocks.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graft/io/checked.h"
#include "graft/io/file.h"
#include "graft/tensor/error.h"
#include "graft/tensor/shape.h"

namespace graft::io {

/// The types of metadata values, with their numbers in the file.
enum class GgufType : uint32_t {
  u8 = 0,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  text,
  array,
  u64,
  i64,
  f64
};

/// One metadata value: where it stands in the file.
struct GgufValue {
  GgufType type = GgufType::u8;
  /// Of an array the type of its elements, else the same as `type`.
  GgufType element = GgufType::u8;
  /// Of an array how many elements it has, else 1.
  uint64_t count = 1;
  /// Byte offset of the first element in the file.
  uint64_t offset = 0;
};

/// One tensor.
struct GgufTensor {
  std::string name;
  /// ggml's number of the type, e.g. 3 for Q4_1.
  uint32_t type = 0;
  /// Outermost first (the file has it the other way around).
  Shape shape;
  /// The tensor's bytes in the mapped file.
  std::span<const std::byte> bytes;
};

/// A GGUF file that is open for reading. Concurrent use is safe.
class GgufFile {
 public:
  /// Opens and checks the file. Throws FormatError with file and byte offset, and IoError.
  explicit GgufFile(const std::filesystem::path& path);

  const std::string& path() const { return file_->path(); }
  uint32_t version() const { return version_; }

  /// Metadata. Accessors throw FormatError, naming file and key, where the key is missing or its
  /// value is of another kind; those with a fallback return it where the key is missing.
  const std::vector<std::string>& keys() const { return keys_; }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue& value(std::string_view key) const;
  /// What a value is, in words: "3", "a text", "an array of 4 numbers".
  std::string described(std::string_view key) const;
  /// An integer of any width, or an array of them.
  int64_t integer(std::string_view key, IntegerRange range = {}) const;
  int64_t integer_or(std::string_view key, int64_t fallback, IntegerRange range = {}) const;
  std::vector<int64_t> integers(std::string_view key, IntegerRange range = {}) const;
  /// A number of any kind, or an array of them.
  double number(std::string_view key) const;
  double number_or(std::string_view key, double fallback) const;
  std::vector<double> numbers(std::string_view key) const;
  bool boolean(std::string_view key) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::vector<bool> booleans(std::string_view key) const;
  std::string text(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;
  std::vector<std::string> texts(std::string_view key) const;
  /// The same texts without copies; they live as long as `file()`.
  std::vector<std::string_view> text_views(std::string_view key) const;

  /// In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  bool contains(std::string_view name) const;
  /// Throws FormatError where there is no such tensor, naming the nearest.
  const GgufTensor& tensor(std::string_view name) const;
  /// Keeps the mapping, and with it every tensor's bytes, alive.
  const std::shared_ptr<const MappedFile>& file() const { return file_; }

 private:
  const GgufValue* find(std::string_view key) const;
  /// The value of a key that must be there, an array or not. Throws FormatError.
  const GgufValue& scalar(std::string_view key, std::string_view expected) const;
  const GgufValue& array(std::string_view key, std::string_view expected) const;
  FormatError wrong(std::string_view key, std::string_view expected) const;

  std::shared_ptr<const MappedFile> file_;
  uint32_t version_ = 0;
  std::vector<std::string> keys_;
  std::unordered_map<std::string_view, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> tensor_index_;
};

/// How many elements and bytes one block of a ggml type has.
struct GgmlBlock {
  int64_t elements = 0;
  int64_t bytes = 0;
};
/// All types of ggml; 0 elements for numbers that are none.
GgmlBlock ggml_block(uint32_t type);

}  // namespace graft::io
