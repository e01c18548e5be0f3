#include "graft/text/record_reader.h"

#include <algorithm>
#include <array>
#include <span>

#include "graft/io/file.h"
#include "graft/tensor/error.h"
#include "graft/text/line_reader.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

constexpr std::string_view json_blanks = " \t\r\n";

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\v\f\n") == std::string_view::npos;
}

std::string bytes_of(const io::InputFile& file, int64_t offset, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  file.read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

/// Files that people take for data files, by how they begin.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> other_files = {{
    {"PAR1\x15", "a Parquet file"},
    {"\x1f\x8b", "compressed (gzip)"},
    {"\x28\xb5\x2f\xfd", "compressed (zstd)"},
    {"PK\x03\x04", "a zip archive"},
    {{"ARROW1\0\0", 8}, "an Arrow file"},
}};

void refuse_other(const std::filesystem::path& path, std::string_view head) {
  std::string_view kind = path.extension() == ".csv"   ? "a table (CSV)"
                          : path.extension() == ".tsv" ? "a table (TSV)"
                                                       : "";
  for (const auto& [begin, name] : other_files)
    if (head.starts_with(begin))
      kind = name;
  if (!kind.empty())
    throw FormatError(path.string(), -1,
                      concat("the file is ", kind,
                             ", expected JSON lines, a JSON list or plain text, in UTF-8 and not "
                             "compressed; convert it first"));
}

FileKind kind_of(const std::filesystem::path& path) {
  const io::InputFile file(path);
  const std::string head = bytes_of(file, 0, std::min<int64_t>(file.size(), 4096));
  refuse_other(path, head);
  refuse_utf16(path.string(), head);
  if (path.extension() == ".txt" || path.extension() == ".raw")
    return FileKind::plain;
  const size_t begin = head.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  const size_t first = head.find_first_not_of(json_blanks, begin);
  return first != std::string::npos && head[first] == '[' ? FileKind::list : FileKind::lines;
}

}  // namespace

class RecordReader::Cutter {
 public:
  virtual ~Cutter() = default;
  virtual std::optional<Record> next() = 0;
  virtual std::string read(const RecordPlace& place) const {
    return bytes_of(file(), place.offset, place.size);
  }
  virtual FileKind kind() const = 0;
  virtual const io::InputFile& file() const = 0;
  virtual int64_t bytes_done() const = 0;
  bool is_lost = false;
};

class RecordReader::LineCutter final : public Cutter {
 public:
  explicit LineCutter(const std::filesystem::path& path) : lines_(path) {}

  std::optional<Record> next() override {
    while (auto line = lines_.next()) {
      if (is_blank(*line))
        continue;
      Record record{{.offset = lines_.offset(),
                     .size = static_cast<int64_t>(line->size()),
                     .line = lines_.line()},
                    {}};
      record.bytes = std::move(*line);
      return record;
    }
    return std::nullopt;
  }
  FileKind kind() const override { return FileKind::lines; }
  const io::InputFile& file() const override { return lines_.file(); }
  int64_t bytes_done() const override { return lines_.offset(); }

 private:
  LineReader lines_;
};

/// Finds the elements of a list by its brackets and strings; what they hold is for a parser.
class RecordReader::ListCutter final : public Cutter {
 public:
  explicit ListCutter(const std::filesystem::path& path) : file_(path) {
    std::array<char, byte_order_mark.size()> mark{};
    if (file_.size() >= static_cast<int64_t>(mark.size())) {
      file_.read(0, std::as_writable_bytes(std::span(mark)));
      if (std::string_view(mark.data(), mark.size()) == byte_order_mark)
        offset_ = static_cast<int64_t>(mark.size());
    }
  }

  std::optional<Record> next() override {
    is_lost = true;  // until the end of the element has been found
    if (!begun_) {
      skip_blanks();
      take();  // '[', by which the file was known
      begun_ = true;
      skip_blanks();
      closed_ = peek() == ']';
      if (closed_)
        take();
    }
    skip_blanks();
    if (closed_) {
      if (at_end())
        return std::nullopt;
      throw wrong("there is more behind the list; a file holds one list, or one record a line");
    }
    Record record = element();
    closed_ = take() == ']';
    is_lost = false;
    if (record.place.size == 0)
      throw wrong(closed_ ? "no record follows the last comma of the list"
                          : "no record stands before a comma of the list");
    if (record.place.size > static_cast<int64_t>(LineReader::max_line_bytes))
      throw FormatError::at_line(file_.path(), record.place.line,
                                 concat("the record has ", record.place.size, " bytes; at most ",
                                        LineReader::max_line_bytes, " are read"));
    return record;
  }
  FileKind kind() const override { return FileKind::list; }
  const io::InputFile& file() const override { return file_; }
  int64_t bytes_done() const override { return offset_; }

 private:
  FormatError wrong(std::string_view what) const {
    return FormatError::at_line(file_.path(), line_, what);
  }

  char peek() {
    if (at_ == buffer_.size()) {
      constexpr int64_t chunk = int64_t{1} << 18;
      const int64_t count = std::min(chunk, file_.size() - offset_);
      if (count <= 0)
        throw FormatError::at_line(file_.path(), element_line_,
                                   "the list is not closed: what begins here goes on to the end of "
                                   "the file, expected ',' or ']' behind a record");
      buffer_ = bytes_of(file_, offset_, count);
      at_ = 0;
    }
    return buffer_[at_];
  }
  char take() {
    const char c = peek();
    ++at_;
    ++offset_;
    // The next chunk is read from offset_ on: all of this one has been taken when that happens.
    line_ += c == '\n';
    return c;
  }
  bool at_end() const { return offset_ == file_.size(); }
  void skip_blanks() {
    while (!at_end() && json_blanks.find(peek()) != json_blanks.npos)
      take();
  }

  /// The bytes up to the comma or bracket that ends the element. Of one that is too long only the
  /// size is kept.
  Record element() {
    Record record{{.offset = offset_, .size = 0, .line = line_}, {}};
    element_line_ = line_;
    int64_t depth = 0;
    int64_t end = offset_;
    for (bool in_string = false;;) {
      const char c = peek();
      if (!in_string && depth == 0 && (c == ',' || c == ']'))
        break;
      take();
      keep(record, c);
      if (in_string && c == '\\') {
        keep(record, take());
      } else if (c == '"') {
        in_string = !in_string;
      } else if (!in_string) {
        depth += c == '[' || c == '{';
        depth -= c == ']' || c == '}';
      }
      if (json_blanks.find(c) == json_blanks.npos)
        end = offset_;
    }
    record.place.size = end - record.place.offset;
    record.bytes.resize(std::min(record.bytes.size(), static_cast<size_t>(record.place.size)));
    return record;
  }
  static void keep(Record& record, char c) {
    if (record.bytes.size() <= LineReader::max_line_bytes)
      record.bytes += c;
  }

  io::InputFile file_;
  std::string buffer_;
  size_t at_ = 0;       // in buffer_
  int64_t offset_ = 0;  // in the file
  int64_t line_ = 1;
  int64_t element_line_ = 1;
  bool begun_ = false;
  bool closed_ = false;
};

/// Documents between separators, in pieces.
class RecordReader::PlainCutter final : public Cutter {
 public:
  PlainCutter(const std::filesystem::path& path, RecordReaderOptions options)
      : file_(path), options_(std::move(options)) {
    if (file_.size() >= static_cast<int64_t>(byte_order_mark.size()) &&
        bytes_of(file_, 0, static_cast<int64_t>(byte_order_mark.size())) == byte_order_mark)
      offset_ = static_cast<int64_t>(byte_order_mark.size());
  }

  std::optional<Record> next() override {
    while (offset_ < file_.size()) {
      Record record = piece();
      if (is_blank(record.bytes)) {
        in_document_ = in_document_ && !record.place.begins;
        continue;
      }
      check(record);
      record.bytes = without_carriage_returns(std::move(record.bytes));
      return record;
    }
    return std::nullopt;
  }
  std::string read(const RecordPlace& place) const override {
    return without_carriage_returns(Cutter::read(place));
  }
  FileKind kind() const override { return FileKind::plain; }
  const io::InputFile& file() const override { return file_; }
  int64_t bytes_done() const override { return offset_; }

 private:
  static std::string without_carriage_returns(std::string text) {
    size_t out = 0;
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n')
        text[out++] = text[i];
    text.resize(out);
    return text;
  }

  void check(const Record& record) const {
    const std::string& text = record.bytes;
    const size_t bad = std::min(first_invalid_byte(text), text.find('\0'));
    if (bad >= text.size())
      return;
    const int64_t line =
        record.place.line +
        std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(bad), '\n');
    throw FormatError::at_line(
        file_.path(), line,
        text[bad] == '\0' ? "there is a NUL byte; plain text is expected"
                          : "there are bytes that are no UTF-8; convert the file to UTF-8");
  }

  /// The next piece, and the separator behind it.
  Record piece() {
    const int64_t left = file_.size() - offset_;
    const bool reaches_end = left <= options_.piece_bytes;
    const std::string window = bytes_of(file_, offset_, std::min(left, options_.piece_bytes));
    Record record{{.offset = offset_, .size = 0, .line = line_, .begins = !in_document_}, {}};
    const auto [text_end, separator_end] = find_separator(window, reaches_end);
    const bool separated = text_end != std::string::npos;
    record.place.ends = separated || reaches_end;
    const size_t size = separated ? text_end : reaches_end ? window.size() : cut_of(window);
    const size_t consumed = separated ? separator_end : size;
    line_ +=
        std::count(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(consumed), '\n');
    offset_ += static_cast<int64_t>(consumed);
    in_document_ = !record.place.ends;
    trim(record, std::string_view(window).substr(0, size));
    return record;
  }

  /// Newlines around a document are not part of it.
  static void trim(Record& record, std::string_view text) {
    constexpr std::string_view newlines = "\r\n";
    if (record.place.begins) {
      const size_t begin = std::min(text.find_first_not_of(newlines), text.size());
      record.place.line +=
          std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
      record.place.offset += static_cast<int64_t>(begin);
      text.remove_prefix(begin);
    }
    if (record.place.ends)
      text.remove_suffix(text.size() - (text.find_last_not_of(newlines) + 1));
    record.place.size = static_cast<int64_t>(text.size());
    record.bytes = text;
  }

  /// Where the first separator line begins and where the next line does; npos without one. The last
  /// line of the window counts where the file ends with it.
  std::pair<size_t, size_t> find_separator(std::string_view window, bool reaches_end) const {
    for (size_t begin = 0; begin < window.size();) {
      size_t end = window.find('\n', begin);
      if (end == std::string_view::npos && !reaches_end)
        break;
      const size_t next = end == std::string_view::npos ? window.size() : end + 1;
      std::string_view line = window.substr(begin, std::min(end, window.size()) - begin);
      if (line.ends_with('\r'))
        line.remove_suffix(1);
      if (std::ranges::find(options_.separators, line) != options_.separators.end())
        return {begin, next};
      begin = next;
    }
    return {std::string_view::npos, 0};
  }

  /// Where to cut a window that is too long: behind its last line, else word, else character.
  static size_t cut_of(std::string_view window) {
    for (const char border : {'\n', ' '})
      if (const size_t last = window.rfind(border); last != std::string_view::npos)
        return last + 1;
    for (size_t back = 1; back <= std::min<size_t>(3, window.size() - 1); ++back) {
      const auto byte = static_cast<unsigned char>(window[window.size() - back]);
      const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      if (length > back)
        return window.size() - back;  // the character goes on behind the window
    }
    return window.size();
  }

  io::InputFile file_;
  RecordReaderOptions options_;
  int64_t offset_ = 0;
  int64_t line_ = 1;
  bool in_document_ = false;
};

RecordReader::RecordReader(const std::filesystem::path& path, const RecordReaderOptions& options) {
  switch (kind_of(path)) {
    case FileKind::lines:
      cutter_ = std::make_unique<LineCutter>(path);
      break;
    case FileKind::list:
      cutter_ = std::make_unique<ListCutter>(path);
      break;
    case FileKind::plain:
      cutter_ = std::make_unique<PlainCutter>(path, options);
      break;
  }
}
RecordReader::~RecordReader() = default;
RecordReader::RecordReader(RecordReader&& other) noexcept = default;

std::optional<Record> RecordReader::next() {
  return cutter_->next();
}
bool RecordReader::is_lost() const {
  return cutter_->is_lost;
}
std::string RecordReader::read(const RecordPlace& place) const {
  return cutter_->read(place);
}
FileKind RecordReader::kind() const {
  return cutter_->kind();
}
const std::string& RecordReader::path() const {
  return cutter_->file().path();
}
int64_t RecordReader::file_bytes() const {
  return cutter_->file().size();
}
int64_t RecordReader::bytes_done() const {
  return std::min(cutter_->bytes_done(), file_bytes());
}

}  // namespace graft::text
