// An adapter's folder as `combine`, `convert` and their like write it: all files appear together,
// or none.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "graft/cli/run_folder.h"

namespace graft::cli {

/// The file beside an adapter that says what `combine --search` measured.
inline constexpr const char* combine_search_name = "combine_search.json";

/// The folder to write, and what must not be written over.
struct AdapterFolder {
  std::filesystem::path out;
  OutPolicy policy = OutPolicy::must_be_empty;
  std::vector<std::filesystem::path> inputs{};
};

/// Calls `write` with a folder for the files of an adapter and brings them to `folder.out`. Throws
/// what `write` throws, ConfigError where the folder may not be used, IoError; the folder is then
/// as it was.
void write_adapter_folder(const AdapterFolder& folder,
                          const std::function<void(const std::filesystem::path&)>& write);

}  // namespace graft::cli
