// The index of a checkpoint in several files: which tensor is in which. For the file layer's own
// .cpp files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace graft::io {

/// model.safetensors.index.json, its file names checked: each is one component of a path that ends
/// in .safetensors.
struct ShardIndex {
  struct Place {
    std::string tensor;
    size_t shard = 0;    ///< index into `shards`
    int64_t offset = 0;  ///< byte of the index file behind the entry, for messages
  };
  std::string file;
  std::vector<std::string> shards;
  std::vector<Place> places;  ///< sorted by tensor
};

/// Throws FormatError with the byte offset, and IoError.
ShardIndex read_shard_index(const std::filesystem::path& path);

}  // namespace graft::io
