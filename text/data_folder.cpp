#include "graft/text/data_folder.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> extensions = {".jsonl", ".json", ".txt"};

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
    for (const std::string_view extension : extensions) {
      const fs::path file = folder / concat(stem, extension);
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
              ".jsonl (nor .json or .txt); ", data_files_text(path));
  return *file;
}

std::string data_files_text(const fs::path& folder) {
  constexpr size_t most_names = 5;
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() &&
        std::ranges::find(extensions, entry.path().extension().string()) != extensions.end())
      names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), most_names); ++i)
    text += concat(i == 0 ? "it has " : ", ", names[i]);
  if (names.size() > most_names)
    text += concat(" and ", names.size() - most_names, " more");
  return names.empty() ? "it has no file of these kinds" : text + "; give the file that is meant";
}

}  // namespace graft::text
