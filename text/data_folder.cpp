#include "graft/text/data_folder.h"

#include <string>
#include <vector>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> stems_of(DataPart part) {
  switch (part) {
    case DataPart::train:
      return {"train"};
    case DataPart::valid:
      return {"valid", "validation", "val", "dev", "eval"};
    case DataPart::test:
      return {"test"};
  }
  return {};
}

}  // namespace

std::string_view name_of(DataPart part) {
  switch (part) {
    case DataPart::train:
      return "train";
    case DataPart::valid:
      return "valid";
    case DataPart::test:
      return "test";
  }
  return "";
}

std::optional<fs::path> find_data_file(const fs::path& folder, DataPart part) {
  std::optional<fs::path> found;
  if (!fs::is_directory(folder))
    return found;
  for (const std::string& stem : stems_of(part))
    for (const char* extension : {".jsonl", ".json", ".txt"}) {
      const fs::path file = folder / (stem + extension);
      if (!fs::is_regular_file(file))
        continue;
      GRAFT_CHECK(!found, ConfigError, "data: ", folder.string(), " has ",
                  found->filename().string(), " and ", file.filename().string(),
                  "; name the file that is meant");
      found = file;
    }
  return found;
}

fs::path data_file(const fs::path& path, DataPart part) {
  if (!fs::is_directory(path))
    return path;
  const auto file = find_data_file(path, part);
  GRAFT_CHECK(file, ConfigError, "data: ", path.string(), " has no ", name_of(part),
              ".jsonl (nor .json or .txt); name the file itself");
  return *file;
}

}  // namespace graft::text
