#include "graft/text/chat.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/text/chat_template.h"

namespace graft::text {
namespace {

using io::Json;

const std::string& find_template(const Tokenizer& tokenizer, const std::string& name) {
  const auto& templates = tokenizer.chat_templates();
  const auto found = templates.find(name);
  if (found != templates.end())
    return found->second;
  std::string names;
  for (const auto& [known, source] : templates)
    names += concat(names.empty() ? "" : ", ", known);
  throw ConfigError(concat("chat: ", tokenizer.source(), " has no chat template '", name, "', ",
                           names.empty() ? "nor any other" : "only " + names,
                           "; take a model that is made for chats, or plain text"));
}

Json to_json(const std::vector<Message>& messages) {
  Json result = Json::array();
  for (const auto& [role, content] : messages)
    result.push_back({{"role", role}, {"content", content}});
  return result;
}

/// Renders with what transformers gives a template to work with beside the messages.
Rendered render_with(const ChatTemplate& source, const Tokenizer& tokenizer, const Json& messages,
                     const Json& tools, bool add_generation_prompt) {
  Json variables = Json::object();
  for (const auto& [purpose, token] : tokenizer.special_tokens())
    variables[purpose] = token;
  variables["tools"] = tools;
  variables["documents"] = nullptr;
  return source.render(messages,
                       {.add_generation_prompt = add_generation_prompt, .variables = &variables});
}

uint32_t common_prefix(std::string_view a, std::string_view b) {
  const auto end = std::ranges::mismatch(a, b).in1;
  return static_cast<uint32_t>(end - a.begin());
}

bool is_answer(const Json& message) {
  return message.is_object() && message.contains("role") && message["role"] == "assistant";
}

Json first_messages(const Json& messages, size_t count) {
  return Json(Json::array_t(messages.begin(), messages.begin() + static_cast<int64_t>(count)));
}

}  // namespace

Chat::Chat(const Tokenizer& tokenizer, const std::string& template_name)
    : tokenizer_(&tokenizer),
      template_(
          std::make_unique<const ChatTemplate>(find_template(tokenizer, template_name),
                                               concat("chat template of ", tokenizer.source()))) {}

Chat::~Chat() = default;
Chat::Chat(Chat&& other) noexcept = default;

std::string Chat::prompt_text(const std::vector<Message>& messages) const {
  return render_text(to_json(messages), nullptr, true);
}

std::vector<int64_t> Chat::prompt_ids(const std::vector<Message>& messages) const {
  return tokenizer_->encode_with_prefix(prompt_text(messages)).ids;
}

std::string Chat::text(const Json& messages, const Json& tools) const {
  return render_text(messages, tools, false);
}

std::string Chat::render_text(const Json& messages, const Json& tools,
                              bool add_generation_prompt) const {
  return render_with(*template_, *tokenizer_, messages, tools, add_generation_prompt).text;
}

Conversation Chat::render(const Json& messages, const Json& tools) const {
  Rendered rendered = render_with(*template_, *tokenizer_, messages, tools, false);
  Conversation result{std::move(rendered.text), std::move(rendered.generation)};
  if (template_->marks_generation())
    return result;
  for (size_t index = 0; index < messages.size(); ++index)
    if (is_answer(messages[index]))
      result.answers.push_back(find_answer(result.text, messages, index, tools));
  return result;
}

/// An answer begins where the render of what is before it ends, the introduction of the answer
/// included. It ends with the stop token in what the conversation up to it and the whole one agree
/// on: newlines behind that token, or the introduction of the next turn, are not the model's.
ByteRange Chat::find_answer(std::string_view text, const Json& messages, size_t index,
                            const Json& tools) const {
  const auto fail = [&](std::string_view what) {
    throw FormatError(tokenizer_->source(), -1,
                      concat("the chat template ", what, " (message ", index + 1,
                             "), so that it cannot be seen which tokens are the answer; use a "
                             "template with {% generation %} blocks, or --loss-on all"));
  };
  const std::string before = render_text(first_messages(messages, index), tools, true);
  if (!text.starts_with(before))
    fail("writes the beginning of the conversation differently once an answer follows");
  const std::string up_to = render_text(first_messages(messages, index + 1), tools, false);
  const ByteRange answer{static_cast<uint32_t>(before.size()), common_prefix(text, up_to)};
  if (answer.end <= answer.begin)
    fail("writes an answer differently once the conversation goes on");
  if (const auto end = end_of_last_stop(text, answer))
    return {answer.begin, *end};
  if (answer.end != up_to.size())
    fail("writes an answer differently once the conversation goes on");
  return answer;
}

std::optional<uint32_t> Chat::end_of_last_stop(std::string_view text, ByteRange within) const {
  const Encoding encoding =
      tokenizer_->encode_with_offsets(within.of(text), {.add_special_tokens = false});
  for (size_t i = encoding.ids.size(); i-- > 0;)
    if (std::ranges::binary_search(tokenizer_->stop_ids(), encoding.ids[i]))
      return within.begin + encoding.offsets[i].end;
  return std::nullopt;
}

std::optional<int64_t> end_of_turn(const Tokenizer& tokenizer, std::string_view chat_template) {
  constexpr std::string_view answer = "graft";
  try {
    const ChatTemplate source(chat_template, "chat template");
    const Json messages = to_json({{"user", "Hello"}, {"assistant", std::string(answer)}});
    const std::string text = render_with(source, tokenizer, messages, nullptr, false).text;
    const size_t at = text.rfind(answer);
    if (at == std::string::npos)
      return std::nullopt;
    const std::string_view behind = std::string_view(text).substr(at + answer.size());
    for (const int64_t id : tokenizer.encode(behind, {.add_special_tokens = false})) {
      if (tokenizer.is_special(id))
        return id;
      const std::string piece = tokenizer.decode(std::vector{id});
      if (piece.find_first_not_of(" \n\r\t") != std::string::npos)
        return std::nullopt;
    }
  } catch (const FormatError&) {
    // Whoever uses the template is told what is wrong with it.
  }
  return std::nullopt;
}

}  // namespace graft::text
