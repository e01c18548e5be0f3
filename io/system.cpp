#include "graft/io/system.h"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace graft::io {
namespace {

constexpr std::string_view prefix = ".tmp-";

}  // namespace

std::string reason_of(int error) {
  return error == ENOSPC || error == EDQUOT ? "disk full" : std::generic_category().message(error);
}

IoError system_error(std::string_view operation, std::string_view path) {
  return IoError(concat(operation, " ", path, ": ", reason_of(errno)));
}

std::string printable(std::string_view name) {
  constexpr size_t longest = 200;
  std::string text(name.substr(0, longest));
  if (name.size() > longest) {
    while (!text.empty() && (text.back() & 0x80) != 0)  // do not cut a letter in two
      text.pop_back();
    text += "…";
  }
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string printable_list(std::span<const std::string> names) {
  constexpr size_t most = 8;
  std::string text;
  for (const std::string& name : names.first(std::min(names.size(), most)))
    text += (text.empty() ? "" : ", ") + printable(name);
  return names.size() <= most ? text : concat(text, " and ", names.size() - most, " more");
}

std::string suggestion(std::string_view name, std::span<const std::string> names) {
  constexpr size_t longest = 512;
  if (name.size() > longest)
    return "";
  // A name much longer than the one asked for is not what was meant, and comparing it takes long.
  std::vector<std::string> candidates;
  for (const std::string& candidate : names)
    if (candidate.size() <= 2 * name.size())
      candidates.push_back(candidate);
  return printable(did_you_mean(name, candidates));
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor =
      uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (descriptor < 0)
    throw system_error("open", folder.string());
  const bool synced = uninterrupted([&] { return ::fsync(descriptor); }) == 0 ||
                      errno == EINVAL;  // a file system that has no such thing
  const IoError error = system_error("sync", folder.string());
  ::close(descriptor);
  if (!synced)
    throw error;
}

std::vector<std::filesystem::directory_entry> list_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::directory_entry> entries;
  std::filesystem::directory_iterator entry(folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    entries.push_back(*entry);
  GRAFT_CHECK(!error, IoError, "read folder ", folder.string(), ": ", reason_of(error.value()));
  std::ranges::sort(entries);
  return entries;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? "." : parent;
}

std::string temporary_name(std::string_view name) {
  constexpr size_t longest = 200;  // of the 255 a name may have
  const pid_t process = ::getpid();
  const pid_t thread = ::gettid();
  const std::string text(name.substr(0, longest));
  return thread == process ? concat(prefix, text, "-", process)
                           : concat(prefix, text, ".", thread, "-", process);
}

int64_t process_of(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (!name.starts_with(prefix) || dash == std::string_view::npos || dash < prefix.size())
    return -1;
  pid_t process = -1;  // numbers beyond its range are no process's
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + dash + 1, end, process);
  return error == std::errc() && stop == end && process > 0 ? process : -1;
}

}  // namespace graft::io
