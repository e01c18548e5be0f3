// StreamDecoder: the text of a generation, token by token, for showing it while it grows.
#pragma once

#include <string>
#include <vector>

#include "graft/text/tokenizer.h"

namespace graft::text {

/// Never gives out a part of a character; what it has given out in all, `finish` included, is
/// Tokenizer::decode of all ids. Refers to the tokenizer, which must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);

  /// The text that became certain with this token; often empty within a character.
  std::string push(int64_t id);
  /// What is left: bytes that never became a character, as U+FFFD. Starts anew.
  std::string finish();

 private:
  std::string text_of_window() const;
  /// Gives out what `text`, that of the first `tokens` of the window, has more than given_text_.
  std::string give(size_t tokens, const std::string& text);

  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  // Decoding depends on the token before, not on earlier ones: the window holds the tokens of the
  // last piece that was given out and those that wait.
  std::vector<int64_t> window_;
  size_t given_tokens_ = 0;
  std::string given_text_;  // decode(window_[0, given_tokens_))
};

}  // namespace graft::text
