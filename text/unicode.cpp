#include "graft/text/unicode.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utf8proc.h>
#include <vector>

#include "graft/tensor/error.h"
#include "graft/text/unicode_additions.h"

namespace graft::text {
namespace {

unsigned char byte_at(std::string_view text, size_t position) {
  return static_cast<unsigned char>(text[position]);
}

struct Sequence {
  size_t size = 1;  // bytes of the character, or of its longest valid beginning
  bool complete = false;
};

/// The UTF-8 sequence at `position`, by the table of well-formed sequences of the Unicode standard.
Sequence sequence_at(std::string_view text, size_t position) {
  const unsigned char lead = byte_at(text, position);
  if (lead < 0x80)
    return {1, true};
  if (lead < 0xc2 || lead > 0xf4)
    return {1, false};
  const size_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < size; ++i) {
    if (position + i >= text.size())
      return {i, false};
    const unsigned char byte = byte_at(text, position + i);
    if (byte < low || byte > high)
      return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {size, true};
}

/// The row of a table that holds a character, or nullptr.
template <class Row>
const Row* find_row(std::span<const Row> rows, char32_t code_point) {
  const auto row = std::ranges::lower_bound(rows, code_point, {}, &Row::last);
  return row != rows.end() && row->first <= code_point ? &*row : nullptr;
}

}  // namespace

size_t first_invalid_byte(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    const Sequence sequence = sequence_at(text, position);
    if (!sequence.complete)
      return position;
    position += sequence.size;
  }
  return position;
}

std::string replace_invalid_bytes(std::string_view bytes) {
  std::string result;
  result.reserve(bytes.size());
  for (size_t position = 0; position < bytes.size();) {
    const Sequence sequence = sequence_at(bytes, position);
    if (sequence.complete)
      result += bytes.substr(position, sequence.size);
    else
      result += "\uFFFD";
    position += sequence.size;
  }
  return result;
}

CodePoint code_point_at(std::string_view text, size_t position) {
  const unsigned char lead = byte_at(text, position);
  if (lead < 0x80)
    return {lead, 1};
  const uint32_t size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t value = lead & (0x7fu >> size);
  for (uint32_t i = 1; i < size; ++i)
    value = value << 6 | (byte_at(text, position + i) & 0x3f);
  return {value, size};
}

CodePoint last_code_point(std::string_view text) {
  size_t position = text.size() - 1;
  while (position > 0 && (byte_at(text, position) & 0xc0) == 0x80)
    --position;
  return code_point_at(text, position);
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto add = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    add(code_point);
  } else if (code_point < 0x800) {
    add(0xc0 | code_point >> 6);
    add(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    add(0xe0 | code_point >> 12);
    add(0x80 | (code_point >> 6 & 0x3f));
    add(0x80 | (code_point & 0x3f));
  } else {
    add(0xf0 | code_point >> 18);
    add(0x80 | (code_point >> 12 & 0x3f));
    add(0x80 | (code_point >> 6 & 0x3f));
    add(0x80 | (code_point & 0x3f));
  }
}

std::string to_utf8(char32_t code_point) {
  std::string text;
  append_utf8(text, code_point);
  return text;
}

std::string_view category(char32_t code_point) {
  if (const CategoryRange* row = find_row(unicode_additions(), code_point))
    return row->category;
  return utf8proc_category_string(static_cast<utf8proc_int32_t>(code_point));
}

bool is_numeric(char32_t code_point) {
  if (code_point < 0x80)
    return code_point >= '0' && code_point <= '9';
  const bool unicode_17 = (code_point >= 0x11de0 && code_point <= 0x11de9) ||
                          (code_point >= 0x16ff4 && code_point <= 0x16ff6);
  return unicode_17 || category(code_point)[0] == 'N';
}

bool is_punctuation(char32_t code_point) {
  if (code_point < 0x80)
    return code_point > ' ' && code_point < 0x7f && !(code_point >= '0' && code_point <= '9') &&
           !(code_point >= 'a' && code_point <= 'z') && !(code_point >= 'A' && code_point <= 'Z');
  // Two that later became a symbol and a mark still count.
  return code_point == 0x166d || code_point == 0x111c9 ||
         (category(code_point)[0] == 'P' &&
          find_row(unpunctuated_characters(), code_point) == nullptr);
}

bool is_whitespace(char32_t code_point) {
  if (code_point < 0x80)
    return code_point == ' ' || (code_point >= '\t' && code_point <= '\r');
  return code_point == 0x85 || category(code_point)[0] == 'Z';
}

bool is_word_character(char32_t code_point) {
  const std::string_view name = category(code_point);
  if (name[0] == 'L' || name[0] == 'M' || name == "Nd" || name == "Nl" || name == "Pc")
    return true;
  const auto within = [&](char32_t first, char32_t last) {
    return first <= code_point && code_point <= last;
  };
  // Circled and squared letters are alphabetic; the joiners belong to the words they join.
  return within(0x24b6, 0x24e9) || within(0x1f130, 0x1f149) || within(0x1f150, 0x1f169) ||
         within(0x1f170, 0x1f189) || within(0x200c, 0x200d);
}

void append_lowercase(std::string& text, char32_t code_point) {
  if (code_point == 0x130)  // the one character whose lower case is two, whatever stands around it
    text += "i\u0307";
  else if (const LowercaseRange* row = find_row(lowercase_additions(), code_point))
    append_utf8(text, code_point + static_cast<char32_t>(row->offset));
  else
    append_utf8(text,
                static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point))));
}

namespace {

/// The library puts marks into their order by exchanging neighbours, which takes quadratic time on
/// a hostile text. Longer texts than this are decomposed and put into order before it sees them.
constexpr size_t max_unordered = 256;

std::string in_canonical_order(std::string_view text, int options) {
  std::vector<utf8proc_int32_t> characters;
  for (size_t at = 0; at < text.size();) {
    const CodePoint character = code_point_at(text, at);
    at += character.size;
    std::array<utf8proc_int32_t, 32> parts{};  // of a character there are at most 18
    int unused = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(character.value), parts.data(),
        static_cast<utf8proc_ssize_t>(parts.size()),
        static_cast<utf8proc_option_t>(options | UTF8PROC_DECOMPOSE), &unused);
    GRAFT_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()), OutOfMemory,
                "normalized: a character with ", count, " parts");
    characters.insert(characters.end(), parts.begin(), parts.begin() + count);
  }
  const auto order = [](utf8proc_int32_t character) {
    return utf8proc_get_property(character)->combining_class;
  };
  for (auto begin = characters.begin(); begin != characters.end();) {
    const auto end = std::find_if(begin, characters.end(),
                                  [&](auto character) { return order(character) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return order(a) < order(b); });
    begin = end == characters.end() ? end : end + 1;
  }
  std::string result;
  for (const utf8proc_int32_t character : characters)
    append_utf8(result, static_cast<char32_t>(character));
  return result;
}

}  // namespace

std::string normalized(std::string_view text, NormalForm form) {
  int options = UTF8PROC_STABLE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd)
    options |= UTF8PROC_COMPAT;
  std::string ordered;
  if (text.size() > max_unordered) {
    ordered = in_canonical_order(text, options);
    text = ordered;
  }
  options |=
      form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &raw,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(raw, &std::free);
  GRAFT_CHECK(size >= 0, OutOfMemory, "normalized: ", text.size(),
              " bytes: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(raw), static_cast<size_t>(size)};
}

bool starts_normalization_chunk(char32_t code_point) {
  if (code_point < 0x300)
    return true;
  const auto within = [&](char32_t first, char32_t last) {
    return first <= code_point && code_point <= last;
  };
  // Vowels and finals of Hangul syllables; what compatible forms turn into such, or into a mark.
  if (within(0x1160, 0x11ff) || within(0x3131, 0x318e) || within(0xff9e, 0xffdc))
    return false;
  // What composes with a character before it, or moves past one, is a mark.
  return category(code_point)[0] != 'M';
}

namespace {

/// Marks that came with Unicode 15.1 to 17.
bool is_late_mark(char32_t code_point) {
  static constexpr CodePointRange unicode_17[] = {
      {0x1acf, 0x1add},   {0x1ae0, 0x1aeb},   {0x10efa, 0x10efb}, {0x11b60, 0x11b67},
      {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6}, {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}};
  const CategoryRange* added = find_row(unicode_additions(), code_point);
  return (added != nullptr && added->category[0] == 'M') ||
         find_row(std::span<const CodePointRange>(unicode_17), code_point) != nullptr;
}

}  // namespace

uint32_t end_of_grapheme(std::string_view text, uint32_t position) {
  CodePoint previous = code_point_at(text, position);
  uint32_t at = position + previous.size;
  utf8proc_int32_t state = 0;
  while (at < text.size()) {
    const CodePoint next = code_point_at(text, at);
    const bool breaks =
        utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(previous.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state);
    // Marks that the library does not know yet belong to what is before them too.
    if (breaks && (!is_late_mark(next.value) || category(previous.value) == "Cc"))
      break;
    previous = next;
    at += next.size;
  }
  return at;
}

bool is_unknown_to_normalization(char32_t code_point) {
  return code_point >= 0x300 && (find_row(unicode_additions(), code_point) != nullptr ||
                                 find_row(unnormalized_characters(), code_point) != nullptr);
}

}  // namespace graft::text
