// LineReader: the lines of a text file one after the other, without the whole file in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/io/file.h"

namespace graft::text {

class LineReader {
 public:
  /// Longer lines are refused.
  static constexpr size_t max_line_bytes = size_t{64} << 20;

  /// Throws IoError where the file cannot be opened.
  explicit LineReader(const std::filesystem::path& path) : file_(path) {}

  /// The next line without its end ("\n" or "\r\n"), and without the byte order mark that a file
  /// may begin with; nothing at the end of the file. Throws FormatError for too long a line,
  /// IoError.
  std::optional<std::string> next();
  /// Number of the line that `next` has just returned, from 1.
  int64_t line() const { return line_; }
  const std::string& path() const { return file_.path(); }

 private:
  bool fill();

  io::InputFile file_;
  std::string buffer_;
  size_t begin_ = 0;    // of what has not been returned, in buffer_
  int64_t offset_ = 0;  // in the file, of what has not been read
  int64_t line_ = 0;
};

}  // namespace graft::text
