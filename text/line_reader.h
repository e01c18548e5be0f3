// LineReader: the lines of a text file one after the other, without the whole file in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "graft/io/file.h"

namespace graft::text {

/// What a UTF-8 file may begin with.
inline constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// Throws FormatError, with the way out, where the bytes that a file begins with are UTF-16, with
/// or without a byte order mark.
void refuse_utf16(const std::string& path, std::string_view head);

class LineReader {
 public:
  /// Longer lines are refused: a record as a tree of JSON may take twenty times its text.
  static constexpr size_t max_line_bytes = size_t{16} << 20;

  /// Throws IoError where the file cannot be opened, and FormatError where it is in UTF-16.
  explicit LineReader(const std::filesystem::path& path);

  /// The next line without its end ("\n" or "\r\n"), and without the byte order mark that a file
  /// may begin with; nothing at the end of the file. Throws FormatError for too long a line, which
  /// the next call goes on behind, and IoError.
  std::optional<std::string> next();
  /// Number of the line that `next` has just returned or refused, from 1.
  int64_t line() const { return line_; }
  /// Where that line's first byte stands in the file.
  int64_t offset() const { return line_offset_; }
  const std::string& path() const { return file_.path(); }
  const io::InputFile& file() const { return file_; }

 private:
  bool fill();
  void skip_line();

  io::InputFile file_;
  std::string buffer_;
  size_t begin_ = 0;    // of what has not been returned, in buffer_
  int64_t offset_ = 0;  // in the file, of what has not been read
  int64_t line_ = 0;
  int64_t line_offset_ = 0;
};

}  // namespace graft::text
