#include "graft/cli/prompt.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"

namespace graft::cli {

Prompter::Prompter(const text::Tokenizer& tokenizer, const io::Json& template_variables)
    : tokenizer_(tokenizer) {
  if (tokenizer.chat_templates().contains("default"))
    chat_.emplace(tokenizer, template_variables);
  GRAFT_CHECK(chat_ || template_variables.empty(), ConfigError,
              "prompt: --chat-template-kwargs are for a chat template, and ", tokenizer.source(),
              " has none; leave them out, or give --chat-template");
}

std::vector<int64_t> Prompter::conversation(const std::vector<text::Message>& turns) const {
  if (chat_)
    return chat_->prompt_ids(turns);
  GRAFT_CHECK(turns.size() == 1, ConfigError, "prompt: ", tokenizer_.source(),
              " has no chat template, so there can be no --system turn");
  return raw(turns[0].content);
}

std::vector<int64_t> Prompter::raw(const std::string& text) const {
  return tokenizer_.encode_with_prefix(text).ids;
}

void check_prompt(const std::vector<int64_t>& ids, int64_t positions) {
  GRAFT_CHECK(!ids.empty(), ConfigError,
              "prompt: it has no tokens, so there is nothing to continue; give a text");
  GRAFT_CHECK(std::ssize(ids) < positions, ConfigError, "prompt: it has ", ids.size(),
              " tokens, but the model has ", positions,
              " positions, for prompt and answer together");
}

}  // namespace graft::cli
