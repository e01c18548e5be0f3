#include "graft/text/jinja/strings.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utf8proc.h>

#include "graft/text/jinja/value.h"
#include "graft/text/unicode.h"

namespace graft::text::jinja {
namespace {

char32_t simple_upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

bool is_small_letter(char32_t c) {
  return c >= 'a' && c <= 'z';
}
bool is_capital_letter(char32_t c) {
  return c >= 'A' && c <= 'Z';
}

/// Upper case of a character; some become several.
void append_upper(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += static_cast<char>(is_small_letter(c) ? c - 0x20 : c);
    return;
  }
  struct Expansion {
    char32_t first, last;
    std::string_view upper;
  };
  // The letters of everyday text that SpecialCasing.txt expands: ß, the ligatures, ŉ and ǰ.
  constexpr std::array<Expansion, 11> expansions = {{{0xdf, 0xdf, "SS"},
                                                     {0x149, 0x149, "ʼN"},
                                                     {0x1f0, 0x1f0, "J\u030c"},
                                                     {0x587, 0x587, "ԵՒ"},
                                                     {0xfb00, 0xfb00, "FF"},
                                                     {0xfb01, 0xfb01, "FI"},
                                                     {0xfb02, 0xfb02, "FL"},
                                                     {0xfb03, 0xfb03, "FFI"},
                                                     {0xfb04, 0xfb04, "FFL"},
                                                     {0xfb05, 0xfb06, "ST"},
                                                     {0x1e96, 0x1e96, "H\u0331"}}};
  for (const Expansion& expansion : expansions) {
    if (c >= expansion.first && c <= expansion.last) {
      text += expansion.upper;
      return;
    }
  }
  append_utf8(text, simple_upper(c));
}

/// The first letter of a word: as upper case, but for the letters that have a form of their own.
void append_title(std::string& text, char32_t c) {
  const auto title = static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  std::string upper;
  append_upper(upper, c);
  if (count_characters(upper) == 1)
    return append_utf8(text, title);
  const size_t first = size_of_character(upper, 0);
  text += upper.substr(0, first) + to_lower(upper.substr(first));
}

constexpr char32_t capital_sigma = 0x3a3;
constexpr char32_t final_sigma = 0x3c2;

bool is_case_ignorable(char32_t c) {
  const std::string_view kind = category(c);
  return kind == "Mn" || kind == "Me" || kind == "Cf" || kind == "Lm" || kind == "Sk" ||
         c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2019;
}

/// Is the sigma at a byte position the last letter of its word?
bool ends_word(std::string_view text, size_t position) {
  size_t before = position;
  char32_t c = 0;
  do {
    if (before == 0)
      return false;
    const CodePoint point = last_code_point(text.substr(0, before));
    c = point.value;
    before -= point.size;
  } while (is_case_ignorable(c));
  if (!is_cased(c))
    return false;
  size_t behind = position + size_of_character(text, position);
  while (behind < text.size() && is_case_ignorable(code_point_at(text, behind).value))
    behind += size_of_character(text, behind);
  return behind == text.size() || !is_cased(code_point_at(text, behind).value);
}

void append_lower(std::string& result, std::string_view text, size_t position, char32_t c) {
  if (c < 0x80)
    result += static_cast<char>(is_capital_letter(c) ? c + 0x20 : c);
  else if (c == capital_sigma && ends_word(text, position))
    append_utf8(result, final_sigma);
  else
    append_lowercase(result, c);
}

std::vector<char32_t> sorted_characters(std::string_view text) {
  std::vector<char32_t> characters;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    characters.push_back(point.value);
    at += point.size;
  }
  std::ranges::sort(characters);
  return characters;
}

template <class Predicate>
std::string_view stripped_where(std::string_view text, Predicate goes, bool left, bool right) {
  while (left && !text.empty()) {
    const CodePoint first = code_point_at(text, 0);
    if (!goes(first.value))
      break;
    text.remove_prefix(first.size);
  }
  while (right && !text.empty()) {
    const CodePoint last = last_code_point(text);
    if (!goes(last.value))
      break;
    text.remove_suffix(last.size);
  }
  return text;
}

bool breaks_line(char32_t c) {
  return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::vector<std::string_view> words_from_right(std::string_view text, int64_t most) {
  std::vector<std::string_view> words;
  text = stripped(text, false, true);
  for (int64_t done = 0; !text.empty(); ++done) {
    size_t begin = done == most ? 0 : text.size();
    while (begin > 0) {
      const CodePoint last = last_code_point(text.substr(0, begin));
      if (is_space(last.value))
        break;
      begin -= last.size;
    }
    words.push_back(text.substr(begin));
    text = stripped(text.substr(0, begin), false, true);
  }
  std::ranges::reverse(words);
  return words;
}

}  // namespace

size_t size_of_character(std::string_view text, size_t position) {
  return code_point_at(text, position).size;
}

int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

std::vector<size_t> character_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xc0) != 0x80)
      offsets.push_back(at);
  offsets.push_back(text.size());
  return offsets;
}

size_t find_first(std::string_view text, std::string_view part, size_t begin) {
  const void* found = memmem(text.data() + begin, text.size() - begin, part.data(), part.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

/// Knuth, Morris and Pratt's search, on both texts read backwards.
size_t find_last(std::string_view text, std::string_view part) {
  if (part.empty())
    return text.size();
  const auto of_part = [&](size_t i) { return part[part.size() - 1 - i]; };
  std::vector<size_t> border(part.size() + 1);
  size_t matched = 0;
  for (size_t i = 1; i < part.size(); ++i) {
    while (matched > 0 && of_part(i) != of_part(matched))
      matched = border[matched];
    matched += of_part(i) == of_part(matched);
    border[i + 1] = matched;
  }
  matched = 0;
  for (size_t at = text.size(); at-- > 0;) {
    while (matched > 0 && text[at] != of_part(matched))
      matched = border[matched];
    matched += text[at] == of_part(matched);
    if (matched == part.size())
      return at;
  }
  return std::string_view::npos;
}

bool is_space(char32_t code_point) {
  return is_whitespace(code_point) || (code_point >= 0x1c && code_point <= 0x1f);
}

std::string_view stripped(std::string_view text, bool left, bool right) {
  return stripped_where(text, is_space, left, right);
}

std::string_view stripped_of(std::string_view text, std::string_view set, bool left, bool right) {
  const std::vector<char32_t> characters = sorted_characters(set);
  return stripped_where(
      text, [&](char32_t c) { return std::ranges::binary_search(characters, c); }, left, right);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                     int64_t count) {
  std::string result;
  size_t at = 0;
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    // An empty `from` stands before every character, and at the end.
    const size_t found = from.empty() ? at : find_first(text, from, at);
    if (found == std::string_view::npos)
      break;
    result.append(text.substr(at, found - at)).append(to);
    check_text_size(result.size() + text.size() - found);
    at = found + from.size();
    if (!from.empty())
      continue;
    if (at >= text.size())
      return result;
    const size_t size = size_of_character(text, at);
    result += text.substr(at, size);
    at += size;
  }
  return result.append(text.substr(at));
}

std::string to_upper(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    append_upper(result, point.value);
    at += point.size;
  }
  return result;
}

std::string to_lower(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    append_lower(result, text, at, point.value);
    at += point.size;
  }
  return result;
}

std::string capitalized(std::string_view text) {
  if (text.empty())
    return {};
  std::string result;
  const CodePoint first = code_point_at(text, 0);
  append_title(result, first.value);
  for (size_t at = first.size; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    append_lower(result, text, at, point.value);
    at += point.size;
  }
  return result;
}

std::string titled(std::string_view text) {
  std::string result;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (inside)
      append_lower(result, text, at, point.value);
    else
      append_title(result, point.value);
    inside = is_cased(point.value);
    at += point.size;
  }
  return result;
}

std::string with_swapped_case(std::string_view text) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (is_upper(point.value))
      append_lower(result, text, at, point.value);
    else
      append_upper(result, point.value);
    at += point.size;
  }
  return result;
}

bool is_lower(char32_t c) {
  return c < 0x80 ? is_small_letter(c) : utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0;
}

bool is_upper(char32_t c) {
  return c < 0x80 ? is_capital_letter(c) : utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}

bool is_cased(char32_t c) {
  return is_lower(c) || is_upper(c) || (c >= 0x80 && category(c) == "Lt");
}

bool is_letter(char32_t c) {
  return category(c)[0] == 'L';
}

bool is_digit(char32_t c) {
  return category(c) == "Nd";
}

bool is_digit_sign(char32_t c) {
  return c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
         (c >= 0x2080 && c <= 0x2089);
}

std::vector<std::string_view> lines_of(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (!breaks_line(point.value)) {
      at += point.size;
      continue;
    }
    const size_t end = at + point.size + (text.substr(at).starts_with("\r\n") ? 1 : 0);
    lines.push_back(text.substr(begin, (keep_ends ? end : at) - begin));
    begin = at = end;
  }
  if (begin < text.size())
    lines.push_back(text.substr(begin));
  return lines;
}

std::vector<std::string_view> words_of(std::string_view text, int64_t most, bool from_right) {
  if (from_right)
    return words_from_right(text, most);
  std::vector<std::string_view> words;
  text = stripped(text, true, false);
  for (int64_t done = 0; !text.empty(); ++done) {
    if (done == most) {
      words.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size() && !is_space(code_point_at(text, end).value))
      end += size_of_character(text, end);
    words.push_back(text.substr(0, end));
    text = stripped(text.substr(end), true, false);
  }
  return words;
}

std::vector<std::string_view> parts_of(std::string_view text, std::string_view separator,
                                       int64_t most, bool from_right) {
  std::vector<std::string_view> parts;
  for (int64_t done = 0; done != most; ++done) {
    const size_t at = from_right ? find_last(text, separator) : find_first(text, separator);
    if (at == std::string_view::npos)
      break;
    const std::string_view behind = text.substr(at + separator.size());
    parts.push_back(from_right ? behind : text.substr(0, at));
    text = from_right ? text.substr(0, at) : behind;
  }
  parts.push_back(text);
  if (from_right)
    std::ranges::reverse(parts);
  return parts;
}

std::string escaped_for_html(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '"':
        result += "&#34;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

}  // namespace graft::text::jinja
