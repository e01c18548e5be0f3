// RecordParser: the bytes of a record become a JSON object, its keys under the names that graft
// knows. Internal to text.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "graft/io/json.h"
#include "graft/text/record_reader.h"

namespace graft::text {

class RecordParser {
 public:
  /// `columns` has names of the file's own keys by those that graft knows. `first` is a record of
  /// the file. Throws ConfigError where a column is none of `known`, or no key of `first`.
  RecordParser(const RecordReader& file, const Record& first,
               std::map<std::string, std::string> columns, std::span<const std::string> known);

  /// A JSON text is {"text"}. Throws FormatError with file and line where the record is no object.
  io::Json parse(const Record& record) const;

  /// "train.jsonl:12", as which errors name the record.
  std::string place(const Record& record) const;
  /// An error about the record, for the caller to throw.
  FormatError wrong(const Record& record, std::string_view what) const;
  /// An error that was thrown while the record was worked on, as one about the record: that of a
  /// chat template, say, names the template only.
  FormatError about(const Record& record, const Error& error) const;

  const std::string& file() const { return file_; }
  FileKind kind() const { return kind_; }

 private:
  io::Json json_of(const Record& record) const;
  void check_columns(const Record& first, std::span<const std::string> known) const;

  std::string file_;
  FileKind kind_;
  std::map<std::string, std::string> columns_;
};

/// "'prompt', 'completion'"; "no keys" where there are none.
std::string quoted_list(std::span<const std::string> keys);

}  // namespace graft::text
