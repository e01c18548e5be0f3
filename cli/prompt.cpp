#include "graft/cli/prompt.h"

#include "graft/tensor/error.h"

namespace graft::cli {

Prompter::Prompter(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  if (tokenizer.chat_templates().contains("default"))
    chat_.emplace(tokenizer);
}

std::vector<int64_t> Prompter::conversation(const std::vector<text::Message>& turns) const {
  if (chat_)
    return chat_->prompt_ids(turns);
  GRAFT_CHECK(turns.size() == 1, ConfigError, "prompt: ", tokenizer_.source(),
              " has no chat template, so there can be no --system turn");
  return raw(turns[0].content);
}

std::vector<int64_t> Prompter::raw(const std::string& text) const {
  std::vector<int64_t> ids = tokenizer_.prefix_ids();
  const std::vector<int64_t> rest = tokenizer_.encode(text, {.add_special_tokens = false});
  ids.insert(ids.end(), rest.begin(), rest.end());
  return ids;
}

}  // namespace graft::cli
