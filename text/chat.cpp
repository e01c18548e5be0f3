#include "graft/text/chat.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/text/jinja/strings.h"

namespace graft::text {
namespace {

using io::Json;

/// The templates that transformers takes by itself.
constexpr const char* usual = "default";
constexpr const char* with_tools = "tool_use";

/// Messages that are rendered, over and over, to find the answers of one conversation: a few
/// seconds, and a conversation of 2,000 messages.
constexpr size_t max_rendered_messages = 2'000'000;

Json to_json(const std::vector<Message>& messages) {
  Json result = Json::array();
  for (const auto& [role, content] : messages)
    result.push_back({{"role", role}, {"content", content}});
  return result;
}

/// The messages with what an assistant thought under every name that templates look for.
Json with_reasoning(const Json& messages) {
  Json result = Json::array();
  for (const Json& message : messages) {
    Json aliased = message;
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      if (!message.is_object() || !message.contains(name) || message[name].is_null())
        continue;
      aliased = {{"thinking", message[name]}};
      aliased.update(message);
      aliased["reasoning_content"] = message[name];
      break;
    }
    result.push_back(std::move(aliased));
  }
  return result;
}

/// Renders with what transformers gives a template to work with beside the messages.
Rendered render_with(const ChatTemplate& source, const Tokenizer& tokenizer, const Json& messages,
                     const Json& tools, const Json& more, bool add_generation_prompt) {
  Json variables = {{"tools", tools}, {"documents", nullptr}};
  for (const auto& [purpose, token] : tokenizer.special_tokens())
    variables[purpose] = token;
  variables.update(more);
  return source.render(with_reasoning(messages),
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

Chat::Chat(const Tokenizer& tokenizer) : Chat(tokenizer, Json::object()) {}

Chat::Chat(const Tokenizer& tokenizer, const Json& variables)
    : tokenizer_(&tokenizer), variables_(std::make_unique<const Json>(variables)) {
  GRAFT_CHECK(variables.is_object(), ConfigError,
              "chat: the variables of the template are no JSON object");
  for (const char* name : {"messages", "tools", "add_generation_prompt"})
    GRAFT_CHECK(!variables.contains(name), ConfigError, "chat: '", name,
                "' is given to the template by graft and cannot be a variable");
  for (const auto& [name, source] : tokenizer.chat_templates())
    if (name == usual || name == with_tools)
      templates_.emplace(
          name, ChatTemplate(source, concat(name == usual ? "" : name + " ", "chat template of ",
                                            tokenizer.chat_template_source())));
  if (!templates_.empty())
    return;
  std::string names;
  for (const auto& [name, source] : tokenizer.chat_templates())
    names += concat(names.empty() ? "" : ", ", name);
  throw ConfigError(concat("chat: ", tokenizer.source(), " has no chat template '", usual, "', ",
                           names.empty()
                               ? "nor any other; take a model that is made for chats, or plain text"
                               : "only " + names + "; name the one to take, or a file with one"));
}

Chat::~Chat() = default;
Chat::Chat(Chat&& other) noexcept = default;

const ChatTemplate& Chat::template_for(const Json& tools) const {
  const auto found = templates_.find(tools.is_null() ? usual : with_tools);
  if (found != templates_.end())
    return found->second;
  GRAFT_CHECK(templates_.contains(usual), ConfigError, "chat: ", tokenizer_->source(),
              " has a chat template for conversations with tools only");
  return templates_.at(usual);
}

std::string Chat::prompt_text(const std::vector<Message>& messages) const {
  return text(to_json(messages), nullptr, Ending::answer_begins);
}

std::vector<int64_t> Chat::prompt_ids(const std::vector<Message>& messages) const {
  return tokenizer_->encode_with_prefix(prompt_text(messages)).ids;
}

std::string Chat::text(const Json& messages, const Json& tools, Ending ending) const {
  if (ending == Ending::answer_goes_on)
    return continued_text(messages, tools);
  return render_with(template_for(tools), *tokenizer_, messages, tools, *variables_,
                     ending == Ending::answer_begins)
      .text;
}

/// Marks the end of the last message and cuts the text there, as transformers does.
std::string Chat::continued_text(const Json& messages, const Json& tools) const {
  const std::string mark = "CONTINUE_FINAL_MESSAGE_TAG ";
  const std::string_view mark_word = std::string_view(mark).substr(0, mark.size() - 1);
  Json marked = messages;
  Json* content = nullptr;
  if (!marked.empty() && marked.back().is_object() && marked.back().contains("content"))
    content = &marked.back()["content"];
  if (content != nullptr && content->is_array()) {
    const auto part = std::find_if(content->rbegin(), content->rend(), [](const Json& p) {
      return p.is_object() && p.contains("text");
    });
    content = part != content->rend() ? &(*part)["text"] : nullptr;
  }
  GRAFT_CHECK(content != nullptr && content->is_string(), ConfigError,
              "chat: the last message has no text that could go on");
  const std::string begun = *content;
  *content = begun + mark;
  std::string rendered = text(marked, tools);
  const size_t end = rendered.rfind(mark_word);
  if (end == std::string::npos ||
      rendered.find(jinja::stripped(begun, true, true)) == std::string::npos)
    throw FormatError(tokenizer_->source(), -1,
                      "the chat template leaves out the end of the last message, so that it cannot "
                      "go on");
  const bool keeps_blanks = std::string_view(rendered).substr(end).starts_with(mark);
  rendered.resize(end);
  return keeps_blanks ? rendered : std::string(jinja::stripped(rendered, false, true));
}

Conversation Chat::render(const Json& messages, const Json& tools,
                          const std::vector<bool>& wanted) const {
  const ChatTemplate& source = template_for(tools);
  Rendered rendered = render_with(source, *tokenizer_, messages, tools, *variables_, false);
  if (source.marks_generation())
    return {std::move(rendered.text), chosen(std::move(rendered.generation), wanted)};
  std::vector<size_t> searched;
  size_t answer = 0, rendered_messages = 0;
  for (size_t index = 0; index < messages.size(); ++index)
    if (is_answer(messages[index]) && wanted.at(answer++)) {
      searched.push_back(index);
      rendered_messages += 2 * index + 1;
    }
  if (rendered_messages > max_rendered_messages)
    throw FormatError(tokenizer_->source(), -1,
                      concat("of a conversation of ", messages.size(),
                             " messages the answers are not looked for one by one; split it, use a "
                             "chat template with {% generation %} blocks, or --loss-on completion, "
                             "which learns the last answer only"));
  Conversation result{std::move(rendered.text), {}};
  for (const size_t index : searched)
    result.answers.push_back(find_answer(result.text, messages, index, tools));
  return result;
}

std::vector<ByteRange> Chat::chosen(std::vector<ByteRange> marked,
                                    const std::vector<bool>& wanted) const {
  if (std::ranges::find(wanted, false) == wanted.end())
    return marked;
  if (marked.size() != wanted.size())
    throw FormatError(
        tokenizer_->source(), -1,
        concat("the chat template marks ", marked.size(), " answers where the record has ",
               wanted.size(), ", so that they cannot be told apart; use --loss-on assistant"));
  std::vector<ByteRange> result;
  for (size_t i = 0; i < wanted.size(); ++i)
    if (wanted[i])
      result.push_back(marked[i]);
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
                             "template with {% generation %} blocks, --loss-on completion, which "
                             "learns the last answer only, or --loss-on all"));
  };
  const std::string before =
      this->text(first_messages(messages, index), tools, Ending::answer_begins);
  if (!text.starts_with(before))
    fail("writes the beginning of the conversation differently once an answer follows");
  const std::string up_to = this->text(first_messages(messages, index + 1), tools);
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
    const std::string text =
        render_with(source, tokenizer, messages, nullptr, Json::object(), false).text;
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
