#include "graft/text/sample_builder.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace graft::text {
namespace {

using io::Json;
using io::JsonKind;

bool overlaps(ByteRange token, ByteRange answer) {
  // A token that was put in, such as the space before a word, belongs to what it stands before.
  if (token.empty())
    return answer.begin <= token.begin && token.begin < answer.end;
  return token.begin < answer.end && token.end > answer.begin;
}

bool is_answer(const io::JsonObject& message) {
  return message.text("role") == "assistant";
}

/// Checks what every template relies on; returns how many answers there are.
int64_t check_messages(const io::JsonObject& record, std::string_view key) {
  int64_t answers = 0;
  for (const io::JsonObject& message : record.objects(key)) {
    answers += is_answer(message);
    const JsonKind content = message.kind("content");
    const bool calls_tools = message.has("tool_calls");
    if (content != JsonKind::text && content != JsonKind::array && !calls_tools)
      throw message.wrong("content", "a text");
  }
  return answers;
}

Json message(const char* role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

}  // namespace

std::optional<RecordFormat> format_of(const io::JsonObject& record) {
  if (record.has("input_ids"))
    return RecordFormat::tokens;
  if (record.has("messages"))
    return RecordFormat::messages;
  if (record.has("prompt") && record.has("completion"))
    return RecordFormat::prompt_completion;
  if (record.has("text"))
    return RecordFormat::text;
  return std::nullopt;
}

SampleBuilder::Built SampleBuilder::build(const io::JsonObject& record) const {
  switch (options_.format) {
    case RecordFormat::text:
      return from_text(record);
    case RecordFormat::prompt_completion:
      return from_prompt(record);
    case RecordFormat::messages:
      return from_messages(record);
    case RecordFormat::tokens:
      return from_tokens(record);
  }
  return {};
}

SampleBuilder::Built SampleBuilder::from_text(const io::JsonObject& record) const {
  const std::string text = record.text("text");
  if (text.empty())
    throw record.wrong("text", "a text with something to learn; delete the line");
  Built built;
  built.sample.input_ids = options_.tokenizer->encode_with_prefix(text).ids;
  built.sample.labels = built.sample.input_ids;
  append_eos(built);
  return built;
}

SampleBuilder::Built SampleBuilder::from_prompt(const io::JsonObject& record) const {
  if (record.kind("completion") == JsonKind::array)
    return from_prompt_messages(record);
  if (record.text("completion").empty())
    throw record.wrong("completion", "a text with something to learn; delete the line");
  if (options_.chat == nullptr)
    return from_joined_prompt(record);
  const Json messages = {message("user", record.text("prompt")),
                         message("assistant", record.text("completion"))};
  return from_conversation(record, messages, 0);
}

SampleBuilder::Built SampleBuilder::from_prompt_messages(const io::JsonObject& record) const {
  if (options_.chat == nullptr)
    throw record.wrong("completion", "a text, as messages need a chat template");
  const int64_t answers_before = check_messages(record, "prompt");
  if (check_messages(record, "completion") == 0)
    throw record.wrong("completion", "messages with one from the assistant");
  Json messages = record.value("prompt");
  for (const Json& next : record.value("completion"))
    messages.push_back(next);
  return from_conversation(record, messages,
                           options_.loss_on == LossOn::completion ? answers_before : 0);
}

SampleBuilder::Built SampleBuilder::from_joined_prompt(const io::JsonObject& record) const {
  const std::string prompt = record.text("prompt");
  const std::string text = prompt + record.text("completion");
  const Encoding encoding = options_.tokenizer->encode_with_prefix(text);
  const uint32_t begin = options_.loss_on == LossOn::all ? 0 : static_cast<uint32_t>(prompt.size());
  Built built = masked(encoding, {{begin, static_cast<uint32_t>(text.size())}});
  append_eos(built);
  return built;
}

SampleBuilder::Built SampleBuilder::from_messages(const io::JsonObject& record) const {
  const int64_t answers = check_messages(record, "messages");
  if (answers == 0 && options_.loss_on != LossOn::all)
    throw record.wrong("messages",
                       "messages with one from the assistant, which is what is learned");
  return from_conversation(record, record.value("messages"),
                           options_.loss_on == LossOn::completion ? answers - 1 : 0);
}

/// The first `skipped` answers are part of the prompt.
SampleBuilder::Built SampleBuilder::from_conversation(const io::JsonObject& record,
                                                      const Json& messages, int64_t skipped) const {
  const Json tools = record.has("tools") ? record.value("tools") : Json(nullptr);
  if (options_.loss_on == LossOn::all) {
    const std::string text = options_.chat->text(messages, tools);
    const std::vector<int64_t> ids = options_.tokenizer->encode_with_prefix(text).ids;
    return {{ids, ids, 0}, true};
  }
  Conversation conversation = options_.chat->render(messages, tools);
  const auto count = static_cast<int64_t>(conversation.answers.size());
  if (skipped > 0 && skipped >= count)
    throw FormatError(record.file(), -1,
                      concat("the chat template marks ", count, " answers, expected more than ",
                             skipped, "; use --loss-on assistant"));
  conversation.answers.erase(conversation.answers.begin(), conversation.answers.begin() + skipped);
  return masked(options_.tokenizer->encode_with_prefix(conversation.text), conversation.answers);
}

SampleBuilder::Built SampleBuilder::from_tokens(const io::JsonObject& record) const {
  const int64_t limit =
      options_.vocab_size > 0 ? options_.vocab_size : std::numeric_limits<int64_t>::max();
  Built built;
  Sample& sample = built.sample;
  sample.input_ids = record.integers("input_ids", {.min = 0, .max = limit - 1});
  if (!record.has("labels")) {
    sample.labels = sample.input_ids;
    return built;
  }
  sample.labels = record.integers("labels", {.min = no_label, .max = limit - 1});
  if (sample.labels.size() != sample.input_ids.size())
    throw FormatError(record.file(), -1,
                      concat("labels has ", sample.labels.size(), " elements for ",
                             sample.input_ids.size(), " input_ids; both are aligned"));
  const auto negative = std::ranges::find_if(
      sample.labels, [](int64_t label) { return label < 0 && label != no_label; });
  if (negative != sample.labels.end())
    throw FormatError(record.file(), -1,
                      concat("labels[", negative - sample.labels.begin(), "] is ", *negative,
                             ", expected an id, or -100 for no loss"));
  return built;
}

SampleBuilder::Built SampleBuilder::masked(const Encoding& encoding,
                                           const std::vector<ByteRange>& answers) const {
  const size_t count = encoding.ids.size();
  Built built{{encoding.ids, std::vector<int64_t>(count, no_label), 0}, true};
  size_t i = 0;
  for (const ByteRange& answer : answers) {
    while (i < count && encoding.offsets[i].end <= answer.begin &&
           !overlaps(encoding.offsets[i], answer))
      ++i;
    if (i == count || !overlaps(encoding.offsets[i], answer))
      continue;
    for (; i < count && overlaps(encoding.offsets[i], answer); ++i)
      built.sample.labels[i] = encoding.ids[i];
    // A template may leave the token that ends the turn outside what it marks as generated.
    const bool ended = is_stop(encoding.ids[i - 1]);
    if (!ended && i < count && is_stop(encoding.ids[i])) {
      built.sample.labels[i] = encoding.ids[i];
      ++i;
    } else if (!ended) {
      built.stops = false;
    }
  }
  return built;
}

void SampleBuilder::append_eos(Built& built) const {
  const auto eos = options_.tokenizer->eos_id();
  built.stops = eos.has_value();
  if (!eos || (!built.sample.input_ids.empty() && built.sample.input_ids.back() == *eos))
    return;
  built.sample.input_ids.push_back(*eos);
  built.sample.labels.push_back(*eos);
}

bool SampleBuilder::is_stop(int64_t id) const {
  return std::ranges::binary_search(options_.tokenizer->stop_ids(), id);
}

}  // namespace graft::text
