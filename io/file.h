// Files as bytes: reading with a limit, mapping, and writing that is whole or not at all.
//
// A file is written under a temporary name in its own folder, brought to the disk and renamed, so
// that neither a reader nor a crash meets half of it; folder_commit.h does so for folders. What the
// operating system refuses is an IoError that names the path and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace graft::io {

/// True where `name` is one component of a path: not empty, not "." or "..", at most 255 bytes,
/// without '/', '\' and NUL. Names out of a file are joined to a path only if it is.
bool is_plain_file_name(std::string_view name);

/// A regular file that is open for reading. Links are followed. Safe to read from several threads.
class InputFile {
 public:
  /// Throws IoError where there is no such file, or where it is no regular file.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Bytes the file had when it was opened.
  int64_t size() const { return size_; }
  /// The path as it was given, for messages.
  const std::string& path() const { return path_; }
  /// Fills `out` from byte `offset` on. Throws IoError where the file has become too short.
  void read(int64_t offset, std::span<std::byte> out) const;
  int descriptor() const { return descriptor_; }

 private:
  std::string path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// All bytes of a file. Throws FormatError where there are more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes);

/// A file seen as memory, read-only. Safe to read from several threads.
///
/// The pages come from the disk as they are touched. If somebody cuts the file short meanwhile,
/// touching what is gone ends the process (SIGBUS): map what stays put, such as base weights.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  /// Gives back the memory of the pages that lie within `part`; touched again, they are read again.
  void drop_pages(std::span<const std::byte> part) const;

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A new file that is written from front to back.
class FileWriter {
 public:
  /// Creates `path`. Throws IoError where it cannot or where something of that name is there.
  /// `shown` is the path that messages name, `path` itself where empty.
  explicit FileWriter(const std::filesystem::path& path, std::string shown = "");
  /// Closes the file. What `finish` was not called for may never reach the disk.
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  /// Appends. Throws IoError with path and sizes; a full disk is called that.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Takes the disk space for `nbytes` from the file's start before they are written, so that a
  /// full disk is known at once. Throws IoError.
  void reserve(int64_t nbytes);
  /// Bytes written so far.
  int64_t written() const { return written_; }
  /// Sets the permissions, as chmod does.
  void set_permissions(unsigned mode);
  /// Brings all bytes to the disk and closes the file. Throws IoError.
  void finish();

 private:
  std::string shown_;
  int descriptor_ = -1;
  int64_t written_ = 0;
};

using WriteContent = std::function<void(FileWriter& out)>;

/// Makes or replaces the file `path` with what `content` writes. A reader sees the old file or the
/// new one. Where anything throws, the old file is as it was and the temporary one is gone. The new
/// file has the permissions of the old one, or those the umask gives. A link is replaced, not its
/// target. Throws IoError where `path` is there and is no regular file.
void write_file_atomically(const std::filesystem::path& path, const WriteContent& content);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Throws IoError where the file system of `folder` has less than `nbytes` left for us.
void check_free_space(const std::filesystem::path& folder, int64_t nbytes);

}  // namespace graft::io
