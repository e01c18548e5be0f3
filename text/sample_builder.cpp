#include "graft/text/sample_builder.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "graft/text/record_turns.h"

namespace graft::text {
namespace {

using io::Json;

bool overlaps(ByteRange token, ByteRange answer) {
  // A token that was put in, such as the space before a word, belongs to what it stands before.
  if (token.empty())
    return answer.begin <= token.begin && token.begin < answer.end;
  return token.begin < answer.end && token.end > answer.begin;
}

}  // namespace

SampleBuilder::Built SampleBuilder::build(const io::JsonObject& record) const {
  switch (options_.format) {
    case RecordFormat::text:
      return from_text(record);
    case RecordFormat::tokens:
      return from_tokens(record);
    default:
      return options_.chat == nullptr ? from_joined_turns(record) : from_conversation(record);
  }
}

SampleBuilder::Built SampleBuilder::from_text(const io::JsonObject& record) const {
  const std::string text = record.text("text");
  if (text.empty())
    throw record.wrong("text", "a text with something to learn; delete the record");
  return build_text(text);
}

SampleBuilder::Built SampleBuilder::build_text(std::string_view text, bool begins,
                                               bool ends) const {
  Built built;
  built.sample.input_ids = begins ? options_.tokenizer->encode_with_prefix(text).ids
                                  : options_.tokenizer->encode(text, {.add_special_tokens = false});
  built.sample.labels = built.sample.input_ids;
  if (ends)
    append_eos(built);
  return built;
}

SampleBuilder::Built SampleBuilder::from_joined_turns(const io::JsonObject& record) const {
  const JoinedTurns turns = joined_turns(options_.format, record);
  const std::string text = turns.prompt + turns.completion;
  const Encoding encoding = options_.tokenizer->encode_with_prefix(text);
  const size_t begin = options_.loss_on == LossOn::all ? 0 : turns.prompt.size();
  Built built =
      masked(encoding, {{static_cast<uint32_t>(begin), static_cast<uint32_t>(text.size())}});
  append_eos(built);
  return built;
}

SampleBuilder::Built SampleBuilder::from_conversation(const io::JsonObject& record) const {
  Json messages = messages_of(options_.format, record);
  const Json tools = tools_of(record);
  const std::vector<bool> learned = choose_answers(record, messages);
  if (options_.loss_on == LossOn::all)
    return whole_conversation(messages, tools);
  const Conversation conversation = options_.chat->render(messages, tools, learned);
  return masked(options_.tokenizer->encode_with_prefix(conversation.text), conversation.answers);
}

SampleBuilder::Built SampleBuilder::whole_conversation(const Json& messages,
                                                       const Json& tools) const {
  const std::string text = options_.chat->text(messages, tools);
  const std::vector<int64_t> ids = options_.tokenizer->encode_with_prefix(text).ids;
  return {{ids, ids, 0}, true};
}

std::vector<bool> SampleBuilder::choose_answers(const io::JsonObject& record,
                                                Json& messages) const {
  std::vector<bool> learned = take_train_flags(messages, record.file());
  if (options_.loss_on == LossOn::all) {
    if (std::ranges::count(learned, false) > 0)
      throw FormatError(record.file(), -1,
                        "a message says that it is not learnt, but --loss-on all learns all; leave "
                        "out the one or the other");
    return learned;
  }
  if (learned.empty())
    throw record.wrong(options_.format == RecordFormat::sharegpt ? "conversations" : "messages",
                       "messages with one from the assistant, which is what is learned");
  if (options_.loss_on == LossOn::completion) {
    const int64_t in_prompt = prompt_messages(options_.format, record, messages);
    const auto answers_before =
        std::count_if(messages.begin(), messages.begin() + in_prompt,
                      [](const Json& message) { return message["role"] == "assistant"; });
    std::fill(learned.begin(), learned.begin() + answers_before, false);
  }
  return learned;
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
