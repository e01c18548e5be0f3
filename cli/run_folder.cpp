#include "graft/cli/run_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/file.h>
#include <unistd.h>

#include "graft/io/folder_commit.h"
#include "graft/models/save.h"
#include "graft/peft/adapter_file.h"
#include "graft/tensor/error.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// True for the name of a file that a run writes: an adapter or a model, a tokenizer, the record.
bool is_run_file(std::string_view name) {
  constexpr std::array<std::string_view, 7> names = {peft::adapter_config_name,
                                                     peft::adapter_model_name,
                                                     "README.md",
                                                     "config.json",
                                                     "run.json",
                                                     "run.toml",
                                                     "log.jsonl"};
  const auto tokenizer_files = text::Tokenizer::file_names();
  return std::ranges::find(names, name) != names.end() || models::is_weight_file(name) ||
         std::ranges::find(tokenizer_files, name) != tokenizer_files.end();
}

/// True where `inner` is `outer` or lies in it.
bool lies_in(const fs::path& inner, const fs::path& outer) {
  const fs::path a = fs::weakly_canonical(inner), b = fs::weakly_canonical(outer);
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

/// The names in a folder, but for what a killed process left.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (!io::is_leftover(entry.path().filename().string()))
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// "adapter_config.json, log.jsonl and 3 more".
std::string shortened(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 3; ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > 3 ? concat(text, " and ", names.size() - 3, " more") : text;
}

/// True where a run of graft wrote into the folder. Others' files are neither resumed nor replaced.
bool holds_run(const fs::path& folder) {
  for (const char* name : {"run.json", "run.toml", "log.jsonl", "checkpoints"})
    if (fs::exists(folder / name))
      return true;
  return false;
}

/// The files of a run in a folder, which may be missing.
std::vector<fs::path> run_files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder))
    return files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && is_run_file(entry.path().filename().string()))
      files.push_back(entry.path());
  return files;
}

void remove_run(const fs::path& folder) {
  std::vector<fs::path> old = run_files_in(folder);
  for (const fs::path& path : run_files_in(folder / "base"))
    old.push_back(path);
  old.push_back(folder / text::Tokenizer::chat_template_folder);
  const fs::path checkpoints = folder / "checkpoints";
  if (fs::is_directory(checkpoints))
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints))
      if (entry.path().filename().string().starts_with("step-"))
        old.push_back(entry.path());
  for (const fs::path& path : old)
    fs::remove_all(path);
}

}  // namespace

void check_out_folder(const fs::path& folder, OutPolicy policy,
                      const std::vector<fs::path>& inputs) {
  for (const fs::path& input : inputs)
    GRAFT_CHECK(!lies_in(input, folder), ConfigError, "--out ", folder.string(), " holds ",
                input.string(), ", which is an input of this run; choose another folder");
  if (!fs::exists(folder))
    return;
  GRAFT_CHECK(fs::is_directory(folder), ConfigError, "--out ", folder.string(),
              " is a file, expected a folder");
  const std::vector<std::string> names = names_in(folder);
  const bool is_for_files = policy == OutPolicy::no_files;
  GRAFT_CHECK((policy != OutPolicy::must_be_empty && !is_for_files) || names.empty(), ConfigError,
              "--out ", folder.string(), " is not empty (", shortened(names),
              "); choose another folder, or add ",
              is_for_files ? "--overwrite to replace the model in it; other files stay"
                           : "--resume to continue the run in it or --overwrite to replace it");
  const bool is_for_runs = policy == OutPolicy::resume || policy == OutPolicy::overwrite;
  GRAFT_CHECK(!is_for_runs || names.empty() || holds_run(folder), ConfigError, "--out ",
              folder.string(), " holds no run of graft (", shortened(names),
              "); choose another folder, or empty this one yourself");
}

void check_out_file(const fs::path& file, const std::vector<fs::path>& inputs) {
  for (const fs::path& input : inputs)
    GRAFT_CHECK(!lies_in(file, input), ConfigError, "--out ", file.string(), " is or lies in ",
                input.string(), ", which is an input; choose another place");
  GRAFT_CHECK(!fs::is_directory(file), ConfigError, "--out ", file.string(),
              " is a folder, expected a file");
  const fs::path folder = file.has_parent_path() ? file.parent_path() : ".";
  GRAFT_CHECK(fs::is_directory(folder), IoError, "write ", file.string(), ": there is no folder ",
              folder.string());
}

RunFolder::RunFolder(fs::path folder, OutPolicy policy) : path_(std::move(folder)) {
  std::error_code problem;
  for (fs::path missing = path_; !missing.empty() && !fs::exists(missing, problem);
       missing = missing.parent_path())
    made_.push_back(missing);
  fs::create_directories(path_, problem);
  GRAFT_CHECK(!problem, IoError, "create ", path_.string(), ": ", problem.message());
  descriptor_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  GRAFT_CHECK(descriptor_ >= 0, IoError, "open ", path_.string(), ": ", std::strerror(errno));
  try {
    GRAFT_CHECK(flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK, ConfigError,
                "--out ", path_.string(), ": another run is writing there");
    io::sweep_temporaries(path_);
    if (policy == OutPolicy::overwrite)
      remove_run(path_);
  } catch (...) {
    close(descriptor_);
    remove_empty();
    throw;
  }
}

RunFolder::~RunFolder() {
  remove_empty();
  close(descriptor_);
}

void RunFolder::remove_empty() const {
  std::error_code problem;
  for (const fs::path& folder : made_)
    fs::remove(folder, problem);  // which fails where something is in it
}

}  // namespace graft::cli
