#include "graft/text/text_pattern.h"

#include "graft/text/oniguruma.h"
#include "graft/text/unicode.h"

namespace graft::text {

TextPattern TextPattern::regex(std::string_view pattern) {
  TextPattern result;
  result.regex_.emplace(from_oniguruma(pattern));
  return result;
}

TextPattern TextPattern::literal(std::string text) {
  if (text.empty())
    return regex("");
  TextPattern result;
  result.literal_ = std::move(text);
  return result;
}

TextPattern TextPattern::read(const io::JsonObject& stage, std::string_view key) {
  const io::JsonObject pattern = stage.object(key);
  if (pattern.has("String"))
    return literal(pattern.text("String"));
  try {
    return regex(pattern.text("Regex"));
  } catch (const ConfigError& error) {
    throw FormatError(stage.file(), -1, concat(stage.path_of(key), ": ", error.what()));
  }
}

std::vector<ByteRange> TextPattern::find_all(std::string_view text) const {
  if (regex_)
    return regex_->find_all(text);
  std::vector<ByteRange> result;
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size()))
    result.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + literal_.size())});
  return result;
}

std::string TextPattern::replaced(std::string_view text, std::string_view content) const {
  std::string result;
  size_t done = 0;
  for (const ByteRange& match : find_all(text)) {
    result += text.substr(done, match.begin - done);
    result += content;
    done = match.end;
  }
  result += text.substr(done);
  return result;
}

std::string one_character(const io::JsonObject& stage, std::string_view key) {
  std::string text = stage.text(key);
  if (text.empty() || code_point_at(text, 0).size != text.size())
    throw stage.wrong(key, "one character");
  return text;
}

void refuse_unasked_options(const io::JsonObject& stage) {
  for (const std::string& key : stage.unasked())
    if (stage.has(key))
      throw FormatError(stage.file(), -1,
                        concat(stage.path_of(key), " is an option that graft does not know"));
}

}  // namespace graft::text
