// A right file of each kind that graft reads alone, and the way it is read.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "graft/tests/fuzz/fuzz.h"

namespace graft::test {

struct FileKind {
  std::string name;     ///< of the file
  std::string content;  ///< a right one
  std::function<void(const std::filesystem::path& file)> read;
  bool is_tree = false;  ///< it is JSON that is held as a tree while it is read

  /// Bytes without what may be missing: padding, a newline at the end.
  size_t needed_bytes() const;
};

/// Safetensors, shard index, GGUF, adapter_config.json, tokenizer.json.
std::vector<FileKind> file_kinds();

/// The file, in a folder with what it refers to.
class ChangingFile : public fuzz::FuzzedFile {
 public:
  explicit ChangingFile(const FileKind& kind);
};

}  // namespace graft::test
