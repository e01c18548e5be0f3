// GgufModel: the GGUF files of one model, which may have been split into several.
//
// The parts of a split model are named NAME-00001-of-00003.gguf and say in their metadata which of
// how many they are; the first one holds the metadata of the model. Whichever of them is given, all
// are opened and found to belong together. Concurrent use is safe.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graft/io/gguf.h"

namespace graft::io {

/// A tensor and the file it is in.
struct GgufPlace {
  const GgufTensor* tensor = nullptr;
  const GgufFile* file = nullptr;
};

class GgufModel {
 public:
  /// Opens the file at `path`, and the other parts where it is one of several. Throws FormatError
  /// with the file at fault: as GgufFile does, where a part is missing, is not named as its
  /// metadata say, or belongs to another model, and where a tensor stands in two parts; and
  /// IoError.
  explicit GgufModel(const std::filesystem::path& path);

  /// The file with the model's metadata: the first part.
  const GgufFile& metadata() const { return *files_.front(); }
  const std::string& path() const { return metadata().path(); }
  const std::vector<std::unique_ptr<const GgufFile>>& files() const { return files_; }

  /// In the order of the parts and of the files.
  const std::vector<GgufPlace>& tensors() const { return tensors_; }
  bool contains(std::string_view name) const { return index_.contains(name); }
  /// Throws FormatError where there is no such tensor, naming the nearest.
  const GgufPlace& tensor(std::string_view name) const;

 private:
  void add_tensors(const GgufFile& file);

  std::vector<std::unique_ptr<const GgufFile>> files_;
  std::vector<GgufPlace> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace graft::io
