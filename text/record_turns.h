// A record as the turns of a conversation, whatever its format: what chat templates take, or a
// prompt and what follows it where there is no template. Internal to text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/record_format.h"

namespace graft::text {

/// The messages of a record: objects with role and content, roles as chat templates know them
/// (sharegpt's "human" is "user"). Throws FormatError, naming the record's file, where they are no
/// conversation.
io::Json messages_of(RecordFormat format, const io::JsonObject& record);
/// How many of these messages belong to the prompt. Of messages and sharegpt all up to the last
/// answer.
int64_t prompt_messages(RecordFormat format, const io::JsonObject& record,
                        const io::Json& messages);

/// What a record asks, without the answer that it may have: the messages before it. The format
/// follows from the keys of the question alone (see question_format_of). Of messages and sharegpt
/// what stands before the last answer, where that is the last message or `cut_at_answer` is set.
/// Throws FormatError.
io::Json question_messages(RecordFormat format, const io::JsonObject& record, bool cut_at_answer);
/// The answer that a record has to what it asks: of messages the last one. Throws FormatError where
/// it has none, or one that is no text.
std::string reference_answer(RecordFormat format, const io::JsonObject& record);

/// The record's tools for the chat template, null without: a list, or that list as a text. Throws
/// FormatError.
io::Json tools_of(const io::JsonObject& record);

/// Which of the answers in `messages` are to be learnt as far as their flags say: `train` (true or
/// false) or `weight` (1 or 0), in which case the flags are taken out of the messages. Throws
/// FormatError for other values, and for a flag that asks to learn what is no answer.
std::vector<bool> take_train_flags(io::Json& messages, std::string_view file);

/// A prompt and what is learnt behind it, for models without a chat template.
struct JoinedTurns {
  std::string prompt;
  std::string completion;
};
/// prompt/completion as they are; alpaca in the words of Stanford's template; question/answer as
/// "Question: …\nAnswer: …". Throws FormatError, also for turns that only a template can join.
JoinedTurns joined_turns(RecordFormat format, const io::JsonObject& record);
/// The prompt of joined_turns, for records that may have no answer.
std::string joined_prompt(RecordFormat format, const io::JsonObject& record);

}  // namespace graft::text
