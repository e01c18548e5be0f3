// Prompter: what a person types becomes the token ids that a model continues.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graft/text/chat.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

class Prompter {
 public:
  /// Refers to the tokenizer, which must outlive it. The variables are those of text::Chat. Throws
  /// FormatError where the model's chat template is not supported.
  Prompter(const text::Tokenizer& tokenizer, const io::Json& template_variables);

  /// True where the model has a chat template.
  bool has_template() const { return chat_.has_value(); }
  /// The conversation as the chat template writes it, up to where the assistant's answer begins.
  /// Without a template there can only be one turn, which is continued as it is. Throws
  /// ConfigError.
  std::vector<int64_t> conversation(const std::vector<text::Message>& turns) const;
  /// The text as it is, behind what the tokenizer puts before texts, unless it writes that itself.
  std::vector<int64_t> raw(const std::string& text) const;

 private:
  const text::Tokenizer& tokenizer_;
  std::optional<text::Chat> chat_;
};

/// Throws ConfigError where there is nothing to continue, or where a model with so many positions
/// has none left for an answer.
void check_prompt(const std::vector<int64_t>& ids, int64_t positions);

}  // namespace graft::cli
