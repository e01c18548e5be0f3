// Data files: JSON lines to training samples.
//
// A record is one of
//   {"text": "…"}                            everything is learned, eos is appended
//   {"prompt": "…", "completion": "…"}       the completion is learned
//   {"messages": [{"role", "content"}, …]}   the assistant's answers are learned; "tools" may
//   follow
//   {"input_ids": […], "labels": […]}        already tokenised; labels default to input_ids
// The first record decides for the file. Prompts go through the tokenizer's chat template, where it
// has one, as a user's message, the completion as the answer (unless `raw`): the model is then
// asked in the form it will be used in. Prompt and completion may also be lists of messages.
//
// A sample is rendered once and tokenised once; the mask follows from the places of the tokens in
// that text. The token that ends an answer is learned with it. The file is read line by line.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "graft/text/sample.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

enum class RecordFormat { text, prompt_completion, messages, tokens };
/// As users write it: "text", "prompt/completion", "messages", "input_ids/labels".
std::string_view name_of(RecordFormat format);

/// Which tokens carry loss: every answer of the assistant, the last answer (or the completion)
/// only, or all tokens.
enum class LossOn { assistant, completion, all };
std::string_view name_of(LossOn loss_on);

struct DatasetOptions {
  /// Default: assistant for messages, completion for prompt/completion, all for text.
  std::optional<LossOn> loss_on = std::nullopt;
  /// Longer samples lose their end; 0 = no limit.
  int64_t max_seq_len = 0;
  /// Prompt and completion are joined as they are, without the chat template; eos is appended.
  bool raw = false;
  /// Ids of tokenised records lie below this; 0 = the tokenizer's vocabulary.
  int64_t vocab_size = 0;
};

/// What has been read so far.
struct DatasetStats {
  int64_t samples = 0;
  int64_t tokens = 0;
  /// Tokens that carry loss.
  int64_t trained_tokens = 0;
  int64_t cut_samples = 0;
  /// Tokens of the longest sample, before it was cut.
  int64_t longest = 0;
  /// Samples with an answer that no stop token ends: from those the model does not learn to stop.
  int64_t without_stop = 0;
};

/// Reads a file record by record.
///
/// Every fault of the file is a FormatError with file and line that says how to put it right: a
/// line that is no JSON, a record of another kind, a sample without anything to learn. A setting
/// that does not go with the file's format is a ConfigError. Blank lines, a byte order mark and
/// CRLF are no faults.
class DatasetReader {
 public:
  /// Opens the file and reads its first record. `tokenizer`, which must outlive the reader, may be
  /// null for tokenised records.
  DatasetReader(const std::filesystem::path& path, const Tokenizer* tokenizer,
                const DatasetOptions& options = {});
  ~DatasetReader();
  DatasetReader(DatasetReader&& other) noexcept;

  /// The next sample, or nothing at the end of the file.
  std::optional<Sample> next();

  RecordFormat format() const;
  LossOn loss_on() const;
  /// True where records go through the chat template.
  bool uses_chat_template() const;
  const DatasetStats& stats() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

/// A whole file in memory.
struct Dataset {
  std::vector<Sample> samples;
  RecordFormat format = RecordFormat::text;
  LossOn loss_on = LossOn::all;
  bool uses_chat_template = false;
  DatasetStats stats;
};

/// All samples of a file. Throws FormatError also where there are none.
Dataset read_dataset(const std::filesystem::path& path, const Tokenizer* tokenizer,
                     const DatasetOptions& options = {});

}  // namespace graft::text
