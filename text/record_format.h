// RecordFormat: what kind of records a data file holds, known by their keys.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "graft/io/json.h"

namespace graft::text {

enum class RecordFormat {
  text,               ///< {"text"}, a piece of plain text, or a JSON text
  prompt_completion,  ///< {"prompt", "completion"}: texts or lists of messages
  messages,           ///< {"messages"}
  tokens,             ///< {"input_ids", "labels"}
  alpaca,             ///< {"instruction", "input", "output"}, and "system", "history"
  sharegpt,           ///< {"conversations": [{"from", "value"}]}
  question_answer,    ///< {"question", "answer"}
};

/// As users write it: "text", "prompt/completion", "messages", "input_ids/labels", "alpaca",
/// "sharegpt", "question/answer".
std::string_view name_of(RecordFormat format);

/// What kind of record this is, or nothing where it is none that graft knows.
std::optional<RecordFormat> format_of(const io::JsonObject& record);

/// What kind of question a record asks, whether it has the answer or not: format_of by the keys of
/// the question alone, and nothing for records that ask none.
std::optional<RecordFormat> question_format_of(const io::JsonObject& record);

/// The keys that records of any kind have.
std::span<const std::string> record_keys();

}  // namespace graft::text
