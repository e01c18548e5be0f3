#include "graft/text/line_reader.h"

#include <algorithm>
#include <span>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

/// The name that iconv has for the kind of UTF-16; empty for other bytes.
std::string_view kind_of_utf16(std::string_view head) {
  if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff"))
    return "UTF-16";
  // Files begin with a character of ASCII: a bracket, or a letter.
  if (head.size() < 2 || (head[0] == '\0') == (head[1] == '\0'))
    return "";
  return head[0] == '\0' ? "UTF-16BE" : "UTF-16LE";
}

}  // namespace

void refuse_utf16(const std::string& path, std::string_view head) {
  const std::string_view kind = kind_of_utf16(head);
  if (!kind.empty())
    throw FormatError(path, -1,
                      concat("the file is in ", kind, ", expected UTF-8; convert it: iconv -f ",
                             kind, " -t UTF-8 FILE > NEWFILE"));
}

LineReader::LineReader(const std::filesystem::path& path) : file_(path) {
  std::string head(static_cast<size_t>(std::min<int64_t>(file_.size(), 2)), '\0');
  file_.read(0, std::as_writable_bytes(std::span(head)));
  refuse_utf16(file_.path(), head);
}

bool LineReader::fill() {
  constexpr int64_t chunk = int64_t{1} << 18;
  const int64_t count = std::min(chunk, file_.size() - offset_);
  if (count == 0)
    return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const size_t kept = buffer_.size();
  buffer_.resize(kept + static_cast<size_t>(count));
  file_.read(offset_, std::as_writable_bytes(std::span(buffer_).subspan(kept)));
  offset_ += count;
  return true;
}

void LineReader::skip_line() {
  size_t end = buffer_.find('\n', begin_);
  while (end == std::string::npos) {
    begin_ = buffer_.size();
    if (!fill())
      return;
    end = buffer_.find('\n', begin_);
  }
  begin_ = end + 1;
}

std::optional<std::string> LineReader::next() {
  size_t searched = begin_;
  size_t end = buffer_.find('\n', searched);
  while (end == std::string::npos) {
    const size_t pending = buffer_.size() - begin_;
    if (pending > max_line_bytes) {
      ++line_;
      skip_line();
      throw FormatError::at_line(path(), line_,
                                 concat("the line has more than ", max_line_bytes,
                                        " bytes; a record stands on a line of its own"));
    }
    if (!fill())
      break;
    searched = begin_ + pending;
    end = buffer_.find('\n', searched);
  }
  if (end == std::string::npos && begin_ == buffer_.size())
    return std::nullopt;
  ++line_;
  line_offset_ = offset_ - static_cast<int64_t>(buffer_.size() - begin_);
  std::string line = buffer_.substr(begin_, std::min(end, buffer_.size()) - begin_);
  begin_ = end == std::string::npos ? buffer_.size() : end + 1;
  if (line.ends_with('\r'))
    line.pop_back();
  if (line_ == 1 && line.starts_with(byte_order_mark)) {
    line.erase(0, byte_order_mark.size());
    line_offset_ += static_cast<int64_t>(byte_order_mark.size());
  }
  return line;
}

}  // namespace graft::text
