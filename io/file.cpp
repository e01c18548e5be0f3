#include "graft/io/file.h"

#include <algorithm>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "graft/io/system.h"
#include "graft/tensor/error.h"

namespace graft::io {

bool is_plain_file_name(std::string_view name) {
  constexpr size_t longest = 255;  // NAME_MAX of every file system in use
  constexpr std::string_view forbidden("/\\\0", 3);
  return !name.empty() && name.size() <= longest && name != "." && name != ".." &&
         name.find_first_of(forbidden) == std::string_view::npos;
}

InputFile::InputFile(const std::filesystem::path& path) : path_(path.string()) {
  // O_NONBLOCK: opening a pipe must not wait for a writer; it means nothing to a regular file.
  descriptor_ =
      uninterrupted([&] { return ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (descriptor_ < 0)
    throw system_error("open", path_);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    size_ = status.st_size;
    return;
  }
  const IoError error =
      known ? IoError(concat("open ", path_, ": is ",
                             S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe",
                             ", expected a file"))
            : system_error("open", path_);
  ::close(descriptor_);
  throw error;
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count =
        uninterrupted([&] { return ::pread(descriptor_, out.data(), out.size(), offset); });
    if (count < 0)
      throw system_error("read", path_);
    GRAFT_CHECK(count > 0, IoError, "read ", path_, ": ends at byte ", offset, ", it had ", size_,
                " bytes when it was opened");
    out = out.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  const InputFile file(path);
  if (file.size() > max_bytes)
    throw FormatError(file.path(), -1,
                      concat("has ", file.size(), " bytes, at most ", max_bytes, " are read"));
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const InputFile file(path);
  path_ = file.path();
  size_ = static_cast<size_t>(file.size());
  if (size_ == 0)  // nothing to map, and mmap refuses it
    return;
  void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (data == MAP_FAILED)
    throw system_error("map", path_);
  data_ = static_cast<const std::byte*>(data);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr)
    ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop_pages(std::span<const std::byte> part) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (part.empty() || part.data() < data_ || part.data() + part.size() > data_ + size_)
    return;
  const auto begin = static_cast<size_t>(part.data() - data_);
  const size_t first = (begin + page - 1) / page * page;  // a page only if all of it is in `part`
  const size_t end = begin + part.size();
  const size_t last = end == size_ ? end : end / page * page;
  if (first < last)  // advice: failing changes nothing but the memory in use
    ::madvise(const_cast<std::byte*>(data_) + first, last - first, MADV_DONTNEED);
}

}  // namespace graft::io
