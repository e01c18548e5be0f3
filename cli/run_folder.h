// The folder that --out names: refused, continued or replaced; locked while a run writes to it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace graft::cli {

/// What the flags say about a folder that holds something already.
/// `replace_files` is for what is no run: files of the names that are written are replaced, and
/// nothing is removed beforehand; `no_files` is the same without leave to replace them. `resume` and
/// `overwrite` refuse a folder that no run wrote, `must_be_empty` names those two.
enum class OutPolicy { must_be_empty, resume, overwrite, no_files, replace_files };

/// Throws ConfigError where the folder may not be used as the policy says, or where it holds or is
/// one of `inputs` (model, data, adapter), which a run must not write over. Changes nothing.
void check_out_folder(const std::filesystem::path& folder, OutPolicy policy,
                      const std::vector<std::filesystem::path>& inputs);

/// Throws ConfigError where the file --out is one of `inputs`, lies in one, or is a folder, and
/// IoError where its folder does not exist. Changes nothing.
void check_out_file(const std::filesystem::path& file,
                    const std::vector<std::filesystem::path>& inputs);

/// The folder of a run, made where it is missing and locked against a second run.
class RunFolder {
 public:
  /// With `overwrite` removes what an earlier run left there: files that graft writes, no others.
  /// Throws IoError, ConfigError where another process is writing there.
  RunFolder(std::filesystem::path folder, OutPolicy policy);
  /// Removes the folders that were made, where nothing was put into them.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  void remove_empty() const;

  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // the innermost one first
  int descriptor_ = -1;
};

}  // namespace graft::cli
