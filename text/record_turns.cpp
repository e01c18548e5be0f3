#include "graft/text/record_turns.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace graft::text {
namespace {

using io::Json;
using io::JsonKind;

Json message(std::string_view role, std::string content) {
  return {{"role", role}, {"content", std::move(content)}};
}

/// A text that is to be learnt, so not an empty one.
std::string answer_text(const io::JsonObject& record, std::string_view key) {
  std::string text = record.text(key);
  if (text.empty())
    throw record.wrong(key, "a text with something to learn; delete the record");
  return text;
}

/// Checks what every template relies on.
void check_messages(const io::JsonObject& record, std::string_view key) {
  for (const io::JsonObject& entry : record.objects(key)) {
    entry.text("role");
    const JsonKind content = entry.kind("content");
    if (content != JsonKind::text && content != JsonKind::array && !entry.has("tool_calls"))
      throw entry.wrong("content", "a text");
  }
}

bool is_answer(const Json& entry) {
  return entry["role"] == "assistant";
}

// alpaca

std::string alpaca_request(const io::JsonObject& record) {
  const std::string input = record.text_or("input", "");
  return record.text("instruction") + (input.empty() ? "" : "\n" + input);
}

Json alpaca_question(const io::JsonObject& record) {
  Json messages = Json::array();
  if (const std::string system = record.text_or("system", ""); !system.empty())
    messages.push_back(message("system", system));
  if (record.has("history")) {
    if (record.kind("history") != JsonKind::array)
      throw record.wrong("history", "a list of pairs, a request and its answer each");
    for (const Json& pair : record.value("history")) {
      if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
        throw record.wrong("history", "a list of pairs, a request and its answer each");
      messages.push_back(message("user", pair[0]));
      messages.push_back(message("assistant", pair[1]));
    }
  }
  messages.push_back(message("user", alpaca_request(record)));
  return messages;
}

/// The wording of Stanford's template, with a line break before the answer as all trainers have it.
std::string alpaca_prompt(const io::JsonObject& record) {
  if (record.has("history") && !record.value("history").empty())
    throw record.wrong("history", "none, as earlier turns need a chat template");
  const std::string input = record.text_or("input", "");
  std::string system = record.text_or("system", "");
  if (system.empty())
    system = input.empty()
                 ? "Below is an instruction that describes a task. Write a response that "
                   "appropriately completes the request."
                 : "Below is an instruction that describes a task, paired with an input that "
                   "provides further context. Write a response that appropriately completes the "
                   "request.";
  return system + "\n\n### Instruction:\n" + record.text("instruction") +
         (input.empty() ? "" : "\n\n### Input:\n" + input) + "\n\n### Response:\n";
}

// sharegpt

/// Whom the names in `from` stand for.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> speakers = {{
    {"human", "user"},
    {"user", "user"},
    {"gpt", "assistant"},
    {"assistant", "assistant"},
    {"chatgpt", "assistant"},
    {"bing", "assistant"},
    {"bard", "assistant"},
    {"model", "assistant"},
    {"function_call", "assistant"},
    {"system", "system"},
    {"tool", "tool"},
    {"observation", "tool"},
    {"function_response", "tool"},
    {"function", "tool"},
}};

std::string_view role_of(const io::JsonObject& entry) {
  const std::string from = entry.text("from");
  for (const auto& [name, role] : speakers)
    if (name == from)
      return role;
  throw entry.wrong("from", "human, gpt, system, tool, function_call or observation");
}

/// The JSON that a member holds as a text; null where it is none.
Json parsed(const io::JsonObject& record, std::string_view key) {
  try {
    return io::parse_json(record.text(key), record.file());
  } catch (const FormatError&) {
    return nullptr;
  }
}

/// {"name", "arguments"}, or a list of them, as a text.
Json tool_calls_of(const io::JsonObject& entry) {
  Json calls = parsed(entry, "value");
  if (calls.is_object())
    calls = Json::array({std::move(calls)});
  Json result = Json::array();
  for (const Json& call : calls.is_array() ? calls : Json::array()) {
    if (!call.is_object() || !call.contains("name") || !call["name"].is_string())
      throw entry.wrong("value", "a call as JSON: {\"name\": …, \"arguments\": …}");
    Json function = {{"name", call["name"]},
                     {"arguments", call.value("arguments", Json::object())}};
    result.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  if (result.empty())
    throw entry.wrong("value", "a call as JSON: {\"name\": …, \"arguments\": …}");
  return result;
}

Json sharegpt_message(const io::JsonObject& entry) {
  Json result;
  if (entry.has("role")) {  // some files use the keys of messages
    result = message(entry.text("role"), entry.text("content"));
  } else if (entry.text("from") == "function_call") {
    result = message("assistant", "");
    result["tool_calls"] = tool_calls_of(entry);
  } else {
    result = message(role_of(entry), entry.text("value"));
  }
  for (const char* flag : {"train", "weight"})
    if (entry.has(flag))
      result[flag] = entry.value(flag);
  return result;
}

Json sharegpt_messages(const io::JsonObject& record) {
  Json messages = Json::array();
  if (const std::string system = record.text_or("system", ""); !system.empty())
    messages.push_back(message("system", system));
  for (const io::JsonObject& entry : record.objects("conversations"))
    messages.push_back(sharegpt_message(entry));
  return messages;
}

// prompts and completions

Json prompt_question(const io::JsonObject& record) {
  if (record.kind("prompt") != JsonKind::array)
    return Json::array({message("user", record.text("prompt"))});
  check_messages(record, "prompt");
  return record.value("prompt");
}

/// The messages of a completion; one of them is an answer.
Json completion_messages(const io::JsonObject& record) {
  if (record.kind("completion") != JsonKind::array) {
    record.text("prompt");  // both are lists, or both are texts
    return Json::array({message("assistant", answer_text(record, "completion"))});
  }
  check_messages(record, "prompt");
  check_messages(record, "completion");
  const Json& completion = record.value("completion");
  if (std::ranges::none_of(completion, is_answer))
    throw record.wrong("completion", "messages with one from the assistant");
  return completion;
}

/// What is asked and the answer behind each other.
Json with_answers(Json messages, const Json& answers) {
  for (const Json& answer : answers)
    messages.push_back(answer);
  return messages;
}

/// The number of the last answer, or that of all messages where there is none.
size_t last_answer(const Json& messages) {
  for (size_t i = messages.size(); i-- > 0;)
    if (is_answer(messages[i]))
      return i;
  return messages.size();
}

std::optional<bool> train_flag(const io::JsonObject& entry) {
  std::optional<bool> flag;
  if (entry.has("train"))
    flag = entry.boolean("train");
  if (entry.has("weight")) {
    const double weight = entry.number("weight");
    if (weight != 0 && weight != 1)
      throw entry.wrong("weight", "0 or 1");
    if (flag && *flag != (weight == 1))
      throw entry.wrong("weight", concat("what 'train' says, which is ", *flag ? "true" : "false"));
    flag = weight == 1;
  }
  return flag;
}

}  // namespace

Json messages_of(RecordFormat format, const io::JsonObject& record) {
  switch (format) {
    case RecordFormat::alpaca:
      return with_answers(alpaca_question(record),
                          Json::array({message("assistant", answer_text(record, "output"))}));
    case RecordFormat::sharegpt:
      return sharegpt_messages(record);
    case RecordFormat::question_answer:
      return {message("user", record.text("question")),
              message("assistant", answer_text(record, "answer"))};
    case RecordFormat::prompt_completion:
      return with_answers(prompt_question(record), completion_messages(record));
    default:
      check_messages(record, "messages");
      return record.value("messages");
  }
}

Json question_messages(RecordFormat format, const io::JsonObject& record, bool cut_at_answer) {
  switch (format) {
    case RecordFormat::alpaca:
      return alpaca_question(record);
    case RecordFormat::question_answer:
      return Json::array({message("user", record.text("question"))});
    case RecordFormat::prompt_completion:
      if (record.kind("completion") != JsonKind::array)
        return prompt_question(record);
      break;
    default:
      break;
  }
  Json messages = messages_of(format, record);
  const size_t answer = last_answer(messages);
  if (cut_at_answer || answer + 1 == messages.size())
    messages.erase(messages.begin() + static_cast<int64_t>(answer), messages.end());
  return messages;
}

std::string reference_answer(RecordFormat format, const io::JsonObject& record) {
  const Json messages = messages_of(format, record);
  const size_t last = last_answer(messages);
  if (last == messages.size())
    throw record.wrong(format == RecordFormat::sharegpt ? "conversations" : "messages",
                       "messages with one from the assistant, the answer that is expected");
  return io::JsonObject(messages[last], record.file(), concat("messages[", last, "]"))
      .text("content");
}

int64_t prompt_messages(RecordFormat format, const io::JsonObject& record, const Json& messages) {
  if (format == RecordFormat::prompt_completion && record.kind("completion") == JsonKind::array)
    return static_cast<int64_t>(messages.size() - record.value("completion").size());
  return static_cast<int64_t>(last_answer(messages));
}

Json tools_of(const io::JsonObject& record) {
  if (!record.has("tools"))
    return nullptr;
  if (record.kind("tools") != JsonKind::text)
    return record.value("tools");
  if (record.text("tools").empty())
    return nullptr;
  Json tools = parsed(record, "tools");
  if (!tools.is_array())
    throw record.wrong("tools", "a list, or a list as a JSON text");
  return tools;
}

std::vector<bool> take_train_flags(Json& messages, std::string_view file) {
  std::vector<bool> learned;
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool answer = is_answer(messages[i]);
    const io::JsonObject entry(messages[i], file, concat("messages[", i, "]"));
    const std::optional<bool> flag = train_flag(entry);
    if (flag.value_or(false) && !answer)
      throw entry.wrong(entry.has("train") ? "train" : "weight",
                        "false or 0, as only the assistant's messages can be learnt one by one");
    if (answer)
      learned.push_back(flag.value_or(true));
    messages[i].erase("train");
    messages[i].erase("weight");
  }
  return learned;
}

std::string joined_prompt(RecordFormat format, const io::JsonObject& record) {
  switch (format) {
    case RecordFormat::alpaca:
      return alpaca_prompt(record);
    case RecordFormat::question_answer:
      return "Question: " + record.text("question") + "\nAnswer:";
    default:
      if (record.kind("prompt") == JsonKind::array)
        throw record.wrong("prompt", "a text, as messages need a chat template");
      return record.text("prompt");
  }
}

JoinedTurns joined_turns(RecordFormat format, const io::JsonObject& record) {
  switch (format) {
    case RecordFormat::alpaca:
      return {joined_prompt(format, record), answer_text(record, "output")};
    case RecordFormat::question_answer:
      return {joined_prompt(format, record), " " + answer_text(record, "answer")};
    default:
      if (record.kind("completion") == JsonKind::array)
        throw record.wrong("completion", "a text, as messages need a chat template");
      return {joined_prompt(format, record), answer_text(record, "completion")};
  }
}

}  // namespace graft::text
