// RecordReader: a data file cut into records, without the whole file in memory.
//
// Three kinds of files: JSON lines, a JSON list of records, and plain text. A record is known by
// where its bytes stand, so that it can be read again alone. What is in the records is not looked
// at here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace graft::text {

enum class FileKind {
  lines,  ///< one JSON value a line
  list,   ///< a JSON list whose elements are the records
  plain,  ///< text; a record is a piece of a document
};

/// Where a record stands in its file.
struct RecordPlace {
  int64_t offset = 0;  ///< of its first byte
  int64_t size = 0;    ///< bytes
  int64_t line = 0;    ///< of its first byte, from 1
  bool begins = true;  ///< plain text: the document begins with it
  bool ends = true;    ///< plain text: the document ends with it
};

struct Record {
  RecordPlace place;
  std::string bytes;
};

struct RecordReaderOptions {
  /// Plain text: a line that holds nothing but one of these stands between two documents.
  std::vector<std::string> separators = {};
  /// Plain text: longer documents come in pieces of about so many bytes, which end at the end of a
  /// line where there is one.
  int64_t piece_bytes = int64_t{64} << 10;
};

class RecordReader {
 public:
  /// A file whose name ends in .txt or .raw is plain text; of others the first character decides:
  /// '[' begins a list. Throws IoError where it cannot be opened, FormatError where it is a file of
  /// another kind, or in UTF-16.
  explicit RecordReader(const std::filesystem::path& path, const RecordReaderOptions& options = {});
  ~RecordReader();
  RecordReader(RecordReader&& other) noexcept;

  /// The next record that is not blank, or nothing at the end of the file. Throws FormatError with
  /// the line for a record that is too long, plain text that is none, or a list that is broken off;
  /// where is_lost() is false then, the next call goes on behind it. Throws IoError.
  std::optional<Record> next();
  /// True where nothing can be read behind an error.
  bool is_lost() const;

  /// The bytes of a record that `next` has returned, as the file holds them now. Safe to call from
  /// several threads. Throws IoError.
  std::string read(const RecordPlace& place) const;

  FileKind kind() const;
  const std::string& path() const;
  /// Bytes of the file, and how many of them `next` has gone through.
  int64_t file_bytes() const;
  int64_t bytes_done() const;

 private:
  class Cutter;
  class LineCutter;
  class ListCutter;
  class PlainCutter;
  std::unique_ptr<Cutter> cutter_;
};

}  // namespace graft::text
