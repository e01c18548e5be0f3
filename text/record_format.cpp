#include "graft/text/record_format.h"

#include <vector>

namespace graft::text {

std::string_view name_of(RecordFormat format) {
  switch (format) {
    case RecordFormat::text:
      return "text";
    case RecordFormat::prompt_completion:
      return "prompt/completion";
    case RecordFormat::messages:
      return "messages";
    case RecordFormat::tokens:
      return "input_ids/labels";
    case RecordFormat::alpaca:
      return "alpaca";
    case RecordFormat::sharegpt:
      return "sharegpt";
    case RecordFormat::question_answer:
      return "question/answer";
  }
  return "";
}

std::optional<RecordFormat> format_of(const io::JsonObject& record) {
  if (record.has("input_ids"))
    return RecordFormat::tokens;
  if (record.has("messages"))
    return RecordFormat::messages;
  if (record.has("conversations"))
    return RecordFormat::sharegpt;
  if (record.has("prompt") && record.has("completion"))
    return RecordFormat::prompt_completion;
  if (record.has("instruction") && record.has("output"))
    return RecordFormat::alpaca;
  if (record.has("question") && record.has("answer"))
    return RecordFormat::question_answer;
  if (record.has("text"))
    return RecordFormat::text;
  return std::nullopt;
}

std::optional<RecordFormat> question_format_of(const io::JsonObject& record) {
  if (record.has("messages"))
    return RecordFormat::messages;
  if (record.has("conversations"))
    return RecordFormat::sharegpt;
  if (record.has("prompt"))
    return RecordFormat::prompt_completion;
  if (record.has("instruction"))
    return RecordFormat::alpaca;
  if (record.has("question"))
    return RecordFormat::question_answer;
  return std::nullopt;
}

std::span<const std::string> record_keys() {
  static const std::vector<std::string> keys = {
      "text",      "prompt",  "completion",    "messages", "tools",
      "input_ids", "labels",  "instruction",   "input",    "output",
      "system",    "history", "conversations", "question", "answer"};
  return keys;
}

}  // namespace graft::text
