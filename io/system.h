// What the file layer's own .cpp files share: the operating system's words, names from files. Not
// for other folders.
#pragma once

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/tensor/error.h"

namespace graft::io {

/// errno in words; a full disk or quota is "disk full" for both.
std::string reason_of(int error);

/// "operation path: reason", the reason being errno's.
IoError system_error(std::string_view operation, std::string_view path);

/// What a system call returns that signals no longer interrupt.
template <class Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result == -1 && errno == EINTR)
    result = call();
  return result;
}

/// A name out of a file, fit for a message: not too long, and without the control characters that a
/// terminal would obey.
std::string printable(std::string_view name);

/// "a, b, c and 7 more": names out of a file, for messages.
std::string printable_list(std::span<const std::string> names);

/// did_you_mean for names out of a file, which may be many, long and hostile.
std::string suggestion(std::string_view name, std::span<const std::string> names);

/// Brings a folder's list of names to the disk, so that a rename in it survives a power cut.
void sync_folder(const std::filesystem::path& folder);

/// What is in a folder, sorted by name. Throws IoError.
std::vector<std::filesystem::directory_entry> list_folder(const std::filesystem::path& folder);

/// The folder that `path` stands in, "." where the path is a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path);

/// ".tmp-NAME-PID" (".tmp-NAME.THREAD-PID" off the main thread): what the calling thread names its
/// work until it is complete. A thing of that name that is there already was left by a process that
/// is gone and had the same number. Long names are cut so that the result is a valid name.
std::string temporary_name(std::string_view name);

/// The process in a name that temporary_name made, or -1.
int64_t process_of(std::string_view name);

}  // namespace graft::io
