// SampleBuilder: one record of a data file becomes one sample. Internal to text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/chat.h"
#include "graft/text/dataset.h"

namespace graft::text {

class SampleBuilder {
 public:
  /// `tokenizer` may be null for tokenised records, `chat` where prompts are joined as they are.
  struct Options {
    RecordFormat format = RecordFormat::text;
    LossOn loss_on = LossOn::all;
    const Tokenizer* tokenizer = nullptr;
    const Chat* chat = nullptr;
    int64_t vocab_size = 0;
  };
  explicit SampleBuilder(const Options& options) : options_(options) {}

  struct Built {
    Sample sample;
    /// False where an answer is not followed by a stop token.
    bool stops = true;
  };
  /// The whole sample, not cut. Throws FormatError, naming the record's file.
  Built build(const io::JsonObject& record) const;

 private:
  Built from_text(const io::JsonObject& record) const;
  Built from_prompt(const io::JsonObject& record) const;
  Built from_prompt_messages(const io::JsonObject& record) const;
  Built from_joined_prompt(const io::JsonObject& record) const;
  Built from_messages(const io::JsonObject& record) const;
  Built from_tokens(const io::JsonObject& record) const;
  Built from_conversation(const io::JsonObject& record, const io::Json& messages,
                          int64_t skipped) const;
  Built masked(const Encoding& encoding, const std::vector<ByteRange>& answers) const;
  void append_eos(Built& built) const;
  bool is_stop(int64_t id) const;

  Options options_;
};

/// What kind of record this is, or nothing where it is none that graft knows.
std::optional<RecordFormat> format_of(const io::JsonObject& record);

}  // namespace graft::text
