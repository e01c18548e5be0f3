#include "graft/text/record_parser.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"
#include "graft/text/line_reader.h"

namespace graft::text {
namespace {

constexpr io::JsonLimits record_limits{.max_bytes = LineReader::max_line_bytes};

}  // namespace

RecordParser::RecordParser(const RecordReader& file, const Record& first,
                           std::map<std::string, std::string> columns,
                           std::span<const std::string> known)
    : file_(file.path()), kind_(file.kind()), columns_(std::move(columns)) {
  check_columns(first, known);
}

std::string RecordParser::place(const Record& record) const {
  return concat(file_, ":", record.place.line);
}

FormatError RecordParser::wrong(const Record& record, std::string_view what) const {
  return FormatError::at_line(file_, record.place.line, what);
}

FormatError RecordParser::about(const Record& record, const Error& error) const {
  if (const auto* fault = dynamic_cast<const FormatError*>(&error);
      fault != nullptr && (fault->file() == place(record) || fault->file() == file_))
    return *fault;
  return wrong(record, error.what());
}

/// The JSON of a record. Of a value that does not end with its line it is said that it should.
io::Json RecordParser::json_of(const Record& record) const {
  try {
    return io::parse_json(record.bytes, place(record), record_limits);
  } catch (const FormatError& error) {
    if (kind_ != FileKind::lines || error.offset() != std::ssize(record.bytes))
      throw;
    throw wrong(record,
                "the line ends inside of its JSON value; a record stands on a line of its "
                "own, or in a list: [{…}, {…}]");
  }
}

io::Json RecordParser::parse(const Record& record) const {
  io::Json json = json_of(record);
  if (json.is_string())
    return {{"text", std::move(json)}};
  if (!json.is_object())
    throw wrong(record, concat("the ", kind_ == FileKind::lines ? "line" : "record",
                               " is JSON, but no object; a record is {\"text\": …} or the like",
                               kind_ == FileKind::lines ? ", one a line" : ""));
  for (const auto& [ours, theirs] : columns_) {
    const auto found = json.find(theirs);
    if (found == json.end())
      continue;
    io::Json value = std::move(*found);
    json.erase(theirs);
    json[ours] = std::move(value);
  }
  return json;
}

/// A key that no record has would change nothing in silence.
void RecordParser::check_columns(const Record& first, std::span<const std::string> known) const {
  if (columns_.empty())
    return;
  GRAFT_CHECK(kind_ != FileKind::plain, ConfigError, "data: --columns names keys of records, but ",
              file_, " is plain text");
  const io::Json json = io::parse_json(first.bytes, place(first), record_limits);
  if (!json.is_object())
    return;  // refused for that
  const std::vector<std::string> keys = io::JsonObject(json, file_).keys();
  for (const auto& [ours, theirs] : columns_) {
    GRAFT_CHECK(std::ranges::find(known, ours) != known.end(), ConfigError,
                "data: --columns gives '", theirs, "' the name '", ours,
                "', which is none that graft knows", did_you_mean(ours, known), "; known are ",
                quoted_list(known));
    GRAFT_CHECK(std::ranges::find(keys, theirs) != keys.end(), ConfigError, "data: --columns ",
                ours, "=", theirs, " given, but the record in ", place(first), " has ",
                quoted_list(keys), did_you_mean(theirs, keys));
  }
}

std::string quoted_list(std::span<const std::string> keys) {
  std::string text;
  for (const std::string& key : keys)
    text += concat(text.empty() ? "'" : ", '", key, "'");
  return text.empty() ? "no keys" : text;
}

}  // namespace graft::text
