#include "graft/text/answer_match.h"

#include "graft/text/jinja/strings.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

std::string without(const Regex& pattern, std::string_view text) {
  std::string kept;
  size_t begin = 0;
  for (const ByteRange match : pattern.find_all(text)) {
    kept += text.substr(begin, match.begin - begin);
    begin = match.end;
  }
  return kept.append(text.substr(begin));
}

std::string lowercase(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    append_lowercase(result, point.value);
    i += point.size;
  }
  return result;
}

}  // namespace

AnswerMatch::AnswerMatch(const AnswerMatchOptions& options)
    : ignore_case_(options.ignore_case), ignore_punctuation_(options.ignore_punctuation) {
  if (!options.answer_pattern.empty())
    answer_.emplace(options.answer_pattern);
  for (const std::string& pattern : options.ignored_patterns)
    ignored_.emplace_back(pattern);
}

std::optional<std::string> AnswerMatch::compared(std::string_view text) const {
  if (answer_) {
    const std::optional<RegexMatch> match = answer_->search(text);
    if (!match)
      return std::nullopt;
    const bool has_group = !match->groups.empty();
    if (has_group && !match->groups[0])
      return std::nullopt;
    text = (has_group ? *match->groups[0] : match->range).of(text);
  }
  std::string result(text);
  for (const Regex& pattern : ignored_)
    result = without(pattern, result);
  if (ignore_case_)
    result = lowercase(result);
  if (ignore_punctuation_)
    std::erase_if(result, is_ascii_punctuation);
  return std::string(jinja::stripped(result, true, true));
}

}  // namespace graft::text
