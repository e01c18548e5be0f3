// Safetensors files: named tensors behind a JSON header.
//
// Reading checks all that the header claims against the file before anything is used: sizes,
// overflow, that the tensors cover the data without overlap, hole or trailing bytes, and that no
// name is there twice. Writing gives the bytes that Python's safetensors library writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/tensor_source.h"
#include "graft/tensor/tensor.h"

namespace graft::io {

class FileWriter;
class InputFile;
class MappedFile;

/// One tensor of a safetensors file, as its header describes it.
struct SafetensorsEntry {
  std::string name;
  /// The file's word for the dtype, e.g. "BF16"; it may be one that graft has not ("F8_E4M3").
  std::string_view dtype;
  Shape shape;
  /// Byte range [begin, end) in the file.
  int64_t begin = 0;
  int64_t end = 0;
};

/// A safetensors file that is open for reading. Concurrent use is safe.
class SafetensorsFile final : public TensorSource {
 public:
  /// Opens and checks the file. Throws FormatError with file and byte offset, and IoError.
  explicit SafetensorsFile(const std::filesystem::path& path, Access access = Access::map);
  ~SafetensorsFile() override;

  const std::string& path() const { return path_; }
  /// All tensors, in the order of their bytes.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  /// Throws FormatError where there is no such tensor, naming the nearest.
  const SafetensorsEntry& entry(std::string_view name) const;
  /// The texts under "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  std::vector<std::string> names() const override;
  bool contains(std::string_view name) const override;
  TensorInfo info(std::string_view name) const override;
  Tensor load(std::string_view name) const override;
  void drop_pages(std::string_view name) const override;
  std::string file_of(std::string_view name) const override;

 private:
  const SafetensorsEntry* find(std::string_view name) const;
  DType dtype_of_entry(const SafetensorsEntry& entry) const;

  std::string path_;
  std::shared_ptr<const MappedFile> mapping_;  // Access::map
  std::unique_ptr<const InputFile> input_;     // Access::read
  std::vector<SafetensorsEntry> entries_;
  std::vector<uint32_t> by_name_;  // indices into entries_, sorted by name
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes a file that appears whole or not at all, see write_file_atomically. The bytes are those
/// of Python's safetensors 0.8.0 for the same tensors; of several metadata texts that library
/// writes in no fixed order, here they are sorted by key. The tensors are on the CPU, in any
/// layout. Throws ConfigError where two have one name or a name is not valid UTF-8, and IoError.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// The same bytes through a writer that is open already, e.g. of a FolderCommit.
void write_safetensors(FileWriter& out, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// A tensor that is made when it is written, and dropped then.
struct LazyTensor {
  std::string name;
  TensorInfo info;
  /// Gives what `info` says, on the CPU.
  std::function<Tensor()> make;
};

/// The same bytes for tensors that are made one after the other, in the order of the file. Throws
/// also what their making throws, and Error where one is not what it was said to be.
void write_safetensors(const std::filesystem::path& path, std::span<const LazyTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace graft::io
