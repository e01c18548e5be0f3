#include "graft/text/prompt.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"
#include "graft/text/record_turns.h"

namespace graft::text {
namespace {

using io::Json;

Json message(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", content}};
}

/// The content of the last message, where it is a text.
std::string last_turn(const Json& messages) {
  if (messages.empty() || !messages.back().contains("content"))
    return "";
  const Json& content = messages.back()["content"];
  return content.is_string() ? content.get<std::string>() : io::to_text(content, -1);
}

}  // namespace

Prompter::Prompter(const Tokenizer& tokenizer, PrompterOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  const Json variables =
      options_.template_variables != nullptr ? *options_.template_variables : Json::object();
  if (!options_.raw && tokenizer.chat_templates().contains("default"))
    chat_.emplace(tokenizer, variables);
  GRAFT_CHECK(chat_ || variables.empty(), ConfigError,
              "prompt: --chat-template-kwargs are for a chat template, and ", tokenizer.source(),
              " has none; leave them out, or give --chat-template");
  GRAFT_CHECK(chat_ || !options_.system, ConfigError, "prompt: ", tokenizer.source(),
              " has no chat template, so there can be no --system turn");
}

Prompt Prompter::from_text(const std::string& text) const {
  return from_turns({{"user", text}});
}

Prompt Prompter::from_turns(const std::vector<Message>& turns) const {
  if (!chat_) {
    GRAFT_CHECK(turns.size() == 1, ConfigError, "prompt: ", tokenizer_.source(),
                " has no chat template, so there can be only one turn");
    return continued(turns[0].content);
  }
  Json messages = Json::array();
  for (const auto& [role, content] : turns)
    messages.push_back(message(role, content));
  return rendered(messages, nullptr, turns.empty() ? "" : turns.back().content);
}

Prompt Prompter::from_record(RecordFormat format, const io::JsonObject& record,
                             bool with_reference) const {
  const bool is_conversation = format == RecordFormat::messages || format == RecordFormat::sharegpt;
  GRAFT_CHECK(chat_ || !is_conversation, ConfigError, "prompt: ", name_of(format),
              " records need a chat template; leave --raw out, or take a model that has one");
  Prompt prompt;
  if (chat_) {
    Json messages = question_messages(format, record, with_reference);
    take_train_flags(messages, record.file());
    prompt = rendered(messages, tools_of(record), last_turn(messages));
  } else {
    prompt = continued(joined_prompt(format, record));
  }
  if (with_reference)
    prompt.reference = reference_answer(format, record);
  return prompt;
}

Prompt Prompter::rendered(const Json& messages, const Json& tools, std::string asked) const {
  Prompt prompt{.asked = std::move(asked), .text = {}, .ids = {}};
  Json turns = messages;
  if (options_.system) {
    const bool has_own = !messages.empty() && messages[0]["role"] == "system";
    GRAFT_CHECK(!has_own, ConfigError,
                "prompt: it has a system turn of its own; leave --system out");
    turns.insert(turns.begin(), message("system", *options_.system));
  }
  prompt.text = chat_->text(turns, tools, Ending::answer_begins);
  prompt.ids = tokenizer_.encode_with_prefix(prompt.text).ids;
  return prompt;
}

Prompt Prompter::continued(std::string text) const {
  Prompt prompt{.asked = text, .text = std::move(text), .ids = {}};
  prompt.ids = tokenizer_.encode_with_prefix(prompt.text).ids;
  return prompt;
}

}  // namespace graft::text
