#include "graft/text/stream_decoder.h"

namespace graft::text {

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
  if (text.ends_with("\uFFFD") || text.size() <= given_text_.size() ||
      !text.starts_with(given_text_))
    return {};
  std::string fresh = text.substr(given_text_.size());
  window_.erase(window_.begin(), window_.begin() + static_cast<int64_t>(given_tokens_));
  given_tokens_ = window_.size();
  given_text_ = text_of_window();
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
