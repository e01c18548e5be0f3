#include "graft/text/added_tokens.h"

#include <algorithm>

#include "graft/tensor/error.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

/// True where a word character stands directly before or behind the range.
bool touches_word(std::string_view text, ByteRange range) {
  return (range.begin > 0 &&
          is_word_character(last_code_point(text.substr(0, range.begin)).value)) ||
         (range.end < text.size() && is_word_character(code_point_at(text, range.end).value));
}

uint32_t begin_of_space_before(std::string_view text, uint32_t end) {
  while (end > 0) {
    const CodePoint character = last_code_point(text.substr(0, end));
    if (!is_whitespace(character.value))
      break;
    end -= character.size;
  }
  return end;
}

uint32_t end_of_space_behind(std::string_view text, uint32_t begin) {
  while (begin < text.size()) {
    const CodePoint character = code_point_at(text, begin);
    if (!is_whitespace(character.value))
      break;
    begin += character.size;
  }
  return begin;
}

}  // namespace

void AddedTokenFinder::add(std::string_view text, const AddedToken& token) {
  GRAFT_CHECK(text.size() <= max_length && nodes_.size() + text.size() <= max_total_length,
              ConfigError, "added token ", token.id, " has ", text.size(),
              " bytes, expected at most ", max_length, ", and ", max_total_length,
              " of all added tokens");
  uint32_t node = 0;
  for (const char byte : text) {
    const auto next = static_cast<uint32_t>(nodes_.size());
    const auto [child, added] = nodes_[node].children.try_emplace(byte, next);
    node = child->second;
    if (added)
      nodes_.emplace_back();
  }
  nodes_[node].token = &token;
}

AddedTokenFinder::Part AddedTokenFinder::longest_at(std::string_view text, uint32_t begin) const {
  Part longest;
  uint32_t node = 0;
  for (uint32_t at = begin; at < text.size(); ++at) {
    const auto child = nodes_[node].children.find(text[at]);
    if (child == nodes_[node].children.end())
      break;
    node = child->second;
    if (nodes_[node].token != nullptr)
      longest = {nodes_[node].token, {begin, at + 1}};
  }
  return longest;
}

std::vector<AddedTokenFinder::Part> AddedTokenFinder::split(std::string_view text) const {
  std::vector<Part> result;
  const auto size = static_cast<uint32_t>(text.size());
  uint32_t done = 0;
  for (uint32_t at = 0; at < size && !empty();) {
    auto [token, range] = longest_at(text, at);
    at = token == nullptr ? at + 1 : range.end;
    if (token == nullptr || (token->single_word && touches_word(text, range)))
      continue;
    if (token->lstrip)
      range.begin = begin_of_space_before(text, range.begin);
    if (token->rstrip)
      range.end = end_of_space_behind(text, range.end);
    // What the token before has taken already is not taken twice.
    range.begin = std::max(range.begin, done);
    if (range.begin >= range.end)
      continue;
    if (done < range.begin)
      result.push_back({nullptr, {done, range.begin}});
    result.push_back({token, range});
    done = range.end;
  }
  if (done != size)
    result.push_back({nullptr, {done, size}});
  return result;
}

}  // namespace graft::text
