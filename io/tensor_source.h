// The named tensors a model is read from, whatever file holds them.
//
// `open_checkpoint` opens the Hugging Face form: a folder with model.safetensors, or with
// model.safetensors.index.json and the shards it names. Links are followed, because the Hugging
// Face cache consists of links. Pickle files run code when they are opened; they are refused, never
// read.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::io {

/// How the bytes of a file are brought to memory: mapped, so that its pages come as they are used
/// and tensors need no copy (base weights), or read, so that a file that changes meanwhile can do
/// no harm and tensors own their memory (adapters, checkpoints).
enum class Access { map, read };

/// What is known of a tensor before it is loaded.
struct TensorInfo {
  DType dtype = DType::f32;
  Shape shape;
};

/// A set of named tensors. Concurrent use is safe.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// All names, sorted.
  virtual std::vector<std::string> names() const = 0;
  virtual bool contains(std::string_view name) const = 0;
  /// Throws FormatError where there is no such tensor, naming the nearest, or where graft has not
  /// its dtype.
  virtual TensorInfo info(std::string_view name) const = 0;
  /// The tensor, row-major on the CPU; not to be written to where it shares the mapped file. Throws
  /// as `info` does, and IoError.
  virtual Tensor load(std::string_view name) const = 0;
  /// Says that the tensor's mapped pages are not needed for now. Never changes what `load` returns.
  virtual void drop_pages(std::string_view name) const = 0;
  /// The file that holds the tensor, for messages. Throws as `info` does.
  virtual std::string file_of(std::string_view name) const = 0;
};

/// Opens a checkpoint: a folder as above, or one .safetensors file. Every header is checked, and of
/// a sharded one, that each tensor the index names is in exactly the shard it says and that no
/// shard holds others. Throws FormatError, with conversion instructions where there are only pickle
/// files, and IoError.
std::unique_ptr<TensorSource> open_checkpoint(const std::filesystem::path& path,
                                              Access access = Access::map);

}  // namespace graft::io
