#include "graft/text/jinja_strings.h"

#include "graft/text/jinja_builtins.h"

namespace graft::text::jinja {

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string stripped(std::string_view text, std::string_view what, bool left, bool right) {
  const auto strips = [&](char c) {
    return what.empty() ? is_space(c) : what.find(c) != std::string_view::npos;
  };
  while (left && !text.empty() && strips(text.front()))
    text.remove_prefix(1);
  while (right && !text.empty() && strips(text.back()))
    text.remove_suffix(1);
  return std::string(text);
}

std::string replaced(std::string text, std::string_view from, std::string_view to, int64_t count) {
  GRAFT_CHECK(!from.empty(), RenderError, "replace: the text to be replaced is empty");
  size_t at = 0;
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    at = text.find(from, at);
    if (at == std::string::npos)
      break;
    text.replace(at, from.size(), to);
    check_text_size(text.size());
    at += to.size();
  }
  return text;
}

std::string with_case(std::string text, bool upper) {
  for (char& c : text) {
    if (upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
      c = static_cast<char>(c ^ 0x20);
  }
  return text;
}

std::string capitalized(std::string text, bool every_word) {
  text = with_case(std::move(text), false);
  bool starts = true;
  for (char& c : text) {
    const bool letter = c >= 'a' && c <= 'z';
    if (letter && starts)
      c = static_cast<char>(c ^ 0x20);
    starts = every_word && !letter;
  }
  return text;
}

std::vector<std::string> characters_of(std::string_view text) {
  std::vector<std::string> characters;
  for (const char c : text) {
    const bool continues = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
    if (continues && !characters.empty())
      characters.back() += c;
    else
      characters.emplace_back(1, c);
  }
  return characters;
}

}  // namespace graft::text::jinja
