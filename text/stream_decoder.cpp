#include "graft/text/stream_decoder.h"

namespace graft::text {
namespace {

/// More tokens than this do not wait for a character: their bytes are none.
constexpr size_t most_waiting = 32;

}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::text_of_window() const {
  return tokenizer_.decode(window_, skip_special_tokens_);
}

std::string StreamDecoder::push(int64_t id) {
  window_.push_back(id);
  // Whether a run of bytes is text is decided at its end.
  if (tokenizer_.is_byte_token(id))
    return {};
  const std::string text = text_of_window();
  if (text.size() <= given_text_.size() || !text.starts_with(given_text_))
    return {};
  if (!text.ends_with("\uFFFD"))
    return give(window_.size(), text);
  if (window_.size() - given_tokens_ < most_waiting)
    return {};
  // A character takes four bytes at most: what stands before the last four tokens is certain where
  // it is the same without them.
  for (size_t tokens = window_.size() - 4; tokens > window_.size() - 8; --tokens) {
    const std::string first =
        tokenizer_.decode(std::span(window_).first(tokens), skip_special_tokens_);
    if (first.size() >= given_text_.size() && text.starts_with(first))
      return give(tokens, first);
  }
  return {};
}

std::string StreamDecoder::give(size_t tokens, const std::string& text) {
  std::string fresh = text.substr(given_text_.size());
  window_.erase(window_.begin(), window_.begin() + static_cast<int64_t>(given_tokens_));
  given_tokens_ = tokens - given_tokens_;
  given_text_ = tokenizer_.decode(std::span(window_).first(given_tokens_), skip_special_tokens_);
  return fresh;
}

std::string StreamDecoder::finish() {
  const std::string text = text_of_window();
  std::string rest = text.starts_with(given_text_) ? text.substr(given_text_.size()) : "";
  window_.clear();
  given_tokens_ = 0;
  given_text_.clear();
  return rest;
}

}  // namespace graft::text
