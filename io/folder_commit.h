// Folders that appear whole or not at all: checkpoints, adapters; and files that appear together in
// a folder that others share.
//
// The files are written into a folder ".tmp-NAME-PID"; `commit` brings all of them to the disk and
// renames. A process that is killed leaves the temporary folder behind, which `sweep_temporaries`
// removes at the next start.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/file.h"

namespace graft::io {

/// A folder in the making. Where it is not committed, its destructor removes it.
class FolderCommit {
 public:
  /// Starts the folder that is to become `target`. Its parents are made where they are missing.
  /// Throws IoError.
  explicit FolderCommit(const std::filesystem::path& target);
  ~FolderCommit();
  FolderCommit(const FolderCommit&) = delete;
  FolderCommit& operator=(const FolderCommit&) = delete;

  /// Where the files go until the commit. Whatever is put there, by `write` or otherwise, is part
  /// of what is committed.
  const std::filesystem::path& path() const { return temporary_; }
  /// Writes one file and brings it to the disk. `name` is relative; folders in it are made.
  void write(const std::filesystem::path& name, const WriteContent& content);
  void write(const std::filesystem::path& name, std::string_view text);
  /// Makes the folder appear under its name, at once and for good. A folder that has the name
  /// already is replaced. Throws IoError; the old folder is then as it was.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Files that join a folder together. Where they are not committed, the destructor removes them.
class FilesCommit {
 public:
  /// `folder` exists. Throws IoError.
  explicit FilesCommit(std::filesystem::path folder);
  ~FilesCommit();
  FilesCommit(const FilesCommit&) = delete;
  FilesCommit& operator=(const FilesCommit&) = delete;

  /// Where the files go until the commit.
  const std::filesystem::path& path() const { return temporary_; }
  /// Moves the files into the folder, where each replaces the one of its name; the file `last`
  /// comes last, so that who waits for it finds the others. Before them the files go that
  /// `supersedes` names and that were not written anew. Throws IoError; where something that is no
  /// file has the name of one, and on a full disk, the folder is then as it was.
  void commit(std::string_view last,
              const std::function<bool(std::string_view name)>& supersedes = {});

 private:
  std::filesystem::path folder_;
  std::filesystem::path temporary_;
};

/// Removes a folder so that nobody meets half of it: it loses its name first. What a process that
/// is killed meanwhile leaves behind, sweep_temporaries removes. Throws IoError.
void remove_folder(const std::filesystem::path& folder);

/// True for the name of what a process that is gone, or an earlier one of this process's number,
/// has left half-done.
bool is_leftover(std::string_view name);

/// Removes what processes that are gone have left half-done in `folder`, and returns the names.
/// What another living process is writing stays. Call it before anything of this process's own is
/// written there: a name with this process's number counts as left by an earlier one. A folder that
/// does not exist has nothing to remove.
std::vector<std::string> sweep_temporaries(const std::filesystem::path& folder);

}  // namespace graft::io
