#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

/// Bytes we may still write to the file system of `path`, where that is known.
std::optional<int64_t> free_space(const std::filesystem::path& path) {
  struct statvfs status {};
  if (::statvfs(path.c_str(), &status) != 0)
    return std::nullopt;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

/// Why writing failed after `written` bytes, with errno's reason in the user's words.
IoError write_error(const std::string& path, int64_t written) {
  const std::string reason =
      errno == EFBIG ? "file larger than this process may write (ulimit -f)" : reason_of(errno);
  std::string message = concat("write ", path, ": ", reason, " after ", written, " bytes");
  if (const auto space = free_space(folder_of(path)))
    message += concat("; ", *space, " bytes are free");
  return IoError(message);
}

/// Permissions of the regular file at `path`, nothing where there is none.
std::optional<unsigned> permissions_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    return std::nullopt;
  GRAFT_CHECK(S_ISREG(status.st_mode), IoError, "write ", path, ": is ",
              S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe",
              ", expected a file or nothing");
  return status.st_mode & 07777u;
}

/// Removes the file that `keep` was not called for.
class TemporaryName {
 public:
  explicit TemporaryName(std::filesystem::path path) : path_(std::move(path)) {}
  ~TemporaryName() {
    if (!kept_)
      ::unlink(path_.c_str());
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

}  // namespace

FileWriter::FileWriter(const std::filesystem::path& path, std::string shown)
    : shown_(shown.empty() ? path.string() : std::move(shown)) {
  constexpr mode_t mode = 0666;  // less the umask
  descriptor_ = uninterrupted(
      [&] { return ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode); });
  if (descriptor_ < 0)
    throw system_error("write", shown_);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // A disk that fills up takes a part first and says so only at the next call.
    const ssize_t count =
        uninterrupted([&] { return ::write(descriptor_, bytes.data(), bytes.size()); });
    if (count < 0)
      throw write_error(shown_, written_);
    bytes = bytes.subspan(static_cast<size_t>(count));
    written_ += count;
  }
}

void FileWriter::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void FileWriter::reserve(int64_t nbytes) {
  if (nbytes <= 0)
    return;
  const int result =
      uninterrupted([&] { return ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, nbytes); });
  // A file system that cannot take space ahead tells of a full disk when it is written.
  if (result != 0 && (errno == ENOSPC || errno == EDQUOT))
    throw IoError(concat("write ", shown_, ": ", reason_of(errno), ": ", nbytes,
                         " bytes are needed, ", free_space(folder_of(shown_)).value_or(0),
                         " are free"));
}

void FileWriter::set_permissions(unsigned mode) {
  if (::fchmod(descriptor_, mode) != 0)
    throw system_error("set the permissions of", shown_);
}

void FileWriter::finish() {
  // Not tried again where the disk fails: the kernel may have dropped the pages and call them
  // clean.
  if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0)
    throw write_error(shown_, written_);
  // Closed even where close was interrupted.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR)
    throw write_error(shown_, written_);
}

void write_file_atomically(const std::filesystem::path& path, const WriteContent& content) {
  const std::string shown = path.string();
  const std::optional<unsigned> permissions = permissions_of(shown);
  const std::filesystem::path folder = folder_of(path);
  TemporaryName temporary(folder / temporary_name(path.filename().string()));
  std::error_code ignored;
  std::filesystem::remove_all(temporary.path(), ignored);  // left by one that had our number
  FileWriter out(temporary.path(), shown);
  content(out);
  if (permissions)
    out.set_permissions(*permissions);
  out.finish();
  if (::rename(temporary.path().c_str(), path.c_str()) != 0)
    throw system_error("write", shown);
  temporary.keep();
  sync_folder(folder);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, [&](FileWriter& out) { out.write(text); });
}

void check_free_space(const std::filesystem::path& folder, int64_t nbytes) {
  std::filesystem::path existing = folder.empty() ? "." : folder;
  std::error_code ignored;
  while (!std::filesystem::exists(existing, ignored) && folder_of(existing) != existing)
    existing = folder_of(existing);
  const auto space = free_space(existing);
  GRAFT_CHECK(!space || *space >= nbytes, IoError, "write ", folder.string(),
              ": disk full: ", nbytes, " bytes are needed, ", *space, " are free");
}

}  // namespace graft::io
