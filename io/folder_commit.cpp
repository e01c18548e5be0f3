#include "graft/io/folder_commit.h"

#include <algorithm>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <system_error>
#include <unistd.h>

#include "graft/io/system.h"

namespace graft::io {
namespace {

/// Makes a folder and its parents, each brought to the disk, where they are missing.
void make_folders(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::is_directory(folder, error))
    return;
  make_folders(folder_of(folder));
  std::filesystem::create_directory(folder, error);
  GRAFT_CHECK(!error, IoError, "make folder ", folder.string(), ": ", reason_of(error.value()));
  sync_folder(folder_of(folder));
}

void sync_file(const std::filesystem::path& file) {
  const int descriptor =
      uninterrupted([&] { return ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); });
  if (descriptor < 0)
    throw system_error("open", file.string());
  const bool synced = uninterrupted([&] { return ::fsync(descriptor); }) == 0;
  const IoError error = system_error("sync", file.string());
  ::close(descriptor);
  if (!synced)
    throw error;
}

/// Brings a folder and all in it to the disk.
void sync_tree(const std::filesystem::path& folder) {
  for (const auto& entry : list_folder(folder)) {
    std::error_code ignored;
    const auto type = entry.symlink_status(ignored).type();
    if (type == std::filesystem::file_type::directory)
      sync_tree(entry.path());
    else if (type == std::filesystem::file_type::regular)
      sync_file(entry.path());  // a link has no bytes of its own
  }
  sync_folder(folder);
}

bool is_alive(int64_t process) {
  return ::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM;
}

/// Throws IoError where a file cannot take the name `path` because a folder or a device has it.
void check_replaceable(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto type = std::filesystem::symlink_status(path, ignored).type();
  const bool is_folder = type == std::filesystem::file_type::directory;
  const bool is_free = type == std::filesystem::file_type::not_found ||
                       type == std::filesystem::file_type::regular ||
                       type == std::filesystem::file_type::symlink;
  GRAFT_CHECK(is_free, IoError, "write ", path.string(), ": is ",
              is_folder ? "a folder" : "a device or pipe", ", expected a file or nothing");
}

void move_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw system_error("write", to.string());
}

}  // namespace

FolderCommit::FolderCommit(const std::filesystem::path& target)
    // "out/" names the folder "out" too
    : target_(target.has_filename() ? target : target.parent_path()) {
  const std::string name = target_.filename().string();
  GRAFT_CHECK(is_plain_file_name(name), IoError, "make folder ", target.string(),
              ": expected a path that ends in a name");
  const std::filesystem::path parent = folder_of(target_);
  make_folders(parent);
  temporary_ = parent / temporary_name(name);
  std::error_code ignored;
  std::filesystem::remove_all(temporary_, ignored);  // left by one that had our number
  std::error_code error;
  std::filesystem::create_directory(temporary_, error);
  GRAFT_CHECK(!error, IoError, "make folder ", temporary_.string(), ": ", reason_of(error.value()));
}

FolderCommit::~FolderCommit() {
  std::error_code ignored;
  if (!committed_)
    std::filesystem::remove_all(temporary_, ignored);
}

void FolderCommit::write(const std::filesystem::path& name, const WriteContent& content) {
  const std::filesystem::path file = temporary_ / name;
  make_folders(folder_of(file));
  FileWriter out(file, (target_ / name).string());
  content(out);
  out.finish();
}

void FolderCommit::write(const std::filesystem::path& name, std::string_view text) {
  write(name, [&](FileWriter& out) { out.write(text); });
}

void FolderCommit::commit() {
  sync_tree(temporary_);
  const std::filesystem::path parent = folder_of(target_);
  // Renaming over a folder works only where that is empty; exchanging the two is atomic as well.
  if (::rename(temporary_.c_str(), target_.c_str()) == 0) {
    committed_ = true;
    sync_folder(parent);
    return;
  }
  const bool occupied = errno == ENOTEMPTY || errno == EEXIST;
  if (!occupied ||
      ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0)
    throw system_error("write folder", target_.string());
  sync_folder(parent);
  // The temporary name is now the old folder's, which the destructor removes.
}

FilesCommit::FilesCommit(std::filesystem::path folder)
    : folder_(std::move(folder)), temporary_(folder_ / temporary_name("files")) {
  std::error_code error;
  std::filesystem::remove_all(temporary_, error);  // left by one that had our number
  std::filesystem::create_directory(temporary_, error);
  GRAFT_CHECK(!error, IoError, "make folder ", temporary_.string(), ": ", reason_of(error.value()));
}

FilesCommit::~FilesCommit() {
  std::error_code ignored;
  std::filesystem::remove_all(temporary_, ignored);
}

void FilesCommit::commit(std::string_view last,
                         const std::function<bool(std::string_view name)>& supersedes) {
  sync_tree(temporary_);
  std::vector<std::string> names;
  for (const auto& entry : list_folder(temporary_))
    names.push_back(entry.path().filename().string());
  for (const std::string& name : names)
    check_replaceable(folder_ / name);
  for (const auto& entry : list_folder(folder_)) {
    const std::string name = entry.path().filename().string();
    const bool is_new = std::ranges::find(names, name) != names.end();
    if (supersedes && !is_new && entry.is_regular_file() && supersedes(name))
      std::filesystem::remove(entry.path());
  }
  std::ranges::partition(names, [&](const std::string& name) { return name != last; });
  for (const std::string& name : names)
    move_file(temporary_ / name, folder_ / name);
  sync_folder(folder_);
}

void remove_folder(const std::filesystem::path& folder) {
  const std::filesystem::path leaving =
      folder_of(folder) / temporary_name(folder.filename().string());
  std::error_code error;
  std::filesystem::rename(folder, leaving, error);
  if (!error)
    std::filesystem::remove_all(leaving, error);
  GRAFT_CHECK(!error, IoError, "remove ", folder.string(), ": ", error.message());
}

bool is_leftover(std::string_view name) {
  const int64_t process = process_of(name);
  return process == ::getpid() || (process >= 0 && !is_alive(process));
}

std::vector<std::string> sweep_temporaries(const std::filesystem::path& folder) {
  std::vector<std::string> removed;
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored))
    return removed;
  for (const auto& entry : list_folder(folder)) {
    const std::string name = entry.path().filename().string();
    if (!is_leftover(name))
      continue;
    std::error_code error;
    std::filesystem::remove_all(entry.path(), error);
    if (!error)
      removed.push_back(name);
  }
  return removed;
}

}  // namespace graft::io
