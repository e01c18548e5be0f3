// SampleBuilder: one record of a data file becomes one sample. Internal to text.
#pragma once

#include <string_view>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/chat.h"
#include "graft/text/loss_on.h"
#include "graft/text/record_format.h"
#include "graft/text/sample.h"
#include "graft/text/tokenizer.h"

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
  /// A piece of a document: bos stands before its first one, eos behind its last.
  Built build_text(std::string_view text, bool begins = true, bool ends = true) const;

 private:
  Built from_text(const io::JsonObject& record) const;
  Built from_joined_turns(const io::JsonObject& record) const;
  Built from_tokens(const io::JsonObject& record) const;
  Built from_conversation(const io::JsonObject& record) const;
  Built whole_conversation(const io::Json& messages, const io::Json& tools) const;
  /// Which answers are learnt, as --loss-on and the flags in the messages say.
  std::vector<bool> choose_answers(const io::JsonObject& record, io::Json& messages) const;
  Built masked(const Encoding& encoding, const std::vector<ByteRange>& answers) const;
  void append_eos(Built& built) const;
  bool is_stop(int64_t id) const;

  Options options_;
};

}  // namespace graft::text
