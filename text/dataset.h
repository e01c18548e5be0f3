// Data files: records to training samples.
//
// A file holds JSON lines, a JSON list, or plain text (.txt). A record is one of
//   {"text": "…"}                            everything is learned, eos is appended
//   {"prompt": "…", "completion": "…"}       the completion is learned
//   {"messages": [{"role", "content"}, …]}   the assistant's answers are learned; "tools" may
//                                            follow
//   {"conversations": [{"from", "value"}]}   sharegpt: the same under other names
//   {"instruction", "input", "output"}       alpaca: the output is learned
//   {"question": "…", "answer": "…"}         the answer is learned
//   {"input_ids": […], "labels": […]}        already tokenised; labels default to input_ids
// The first record decides for the file. What has a prompt and an answer goes through the
// tokenizer's chat template, where it has one, as turns of user and assistant (unless `raw`): the
// model is then asked in the form it will be used in. Prompt and completion may also be lists of
// messages. A message with "train": false or "weight": 0 is not learned.
//
// A sample is rendered once and tokenised once; the mask follows from the places of the tokens in
// that text. The token that ends an answer is learned with it. The file is read record by record.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "graft/text/dataset_options.h"
#include "graft/text/record_format.h"
#include "graft/text/record_reader.h"
#include "graft/text/sample.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

/// What has been read so far.
struct DatasetStats {
  int64_t records = 0;  ///< of plain text: documents
  int64_t samples = 0;
  int64_t tokens = 0;  ///< of the samples
  /// Tokens that carry loss.
  int64_t trained_tokens = 0;
  /// Tokens of the longest record (of plain text: sample), before it was cut.
  int64_t longest = 0;
  /// Records with an answer that no stop token ends: from those the model does not learn to stop.
  int64_t without_stop = 0;

  int64_t cut_samples = 0;
  int64_t cut_tokens = 0;     ///< that the cut samples have lost
  int64_t split_records = 0;  ///< that became several samples; plain text does not count
  /// Records that were dropped because they were too long.
  int64_t dropped_long = 0;
  /// Records that were dropped because all that carries loss stood behind the cut.
  int64_t dropped_unlearnable = 0;
  /// Pieces of split records that were dropped because nothing in them carries loss.
  int64_t dropped_pieces = 0;
  int64_t dropped_tokens = 0;  ///< of all that were dropped

  int64_t dropped() const { return dropped_long + dropped_unlearnable + dropped_pieces; }
};

/// Where a sample comes from, so that it can be made again.
struct SampleOrigin {
  RecordPlace record;
  uint64_t checksum = 0;  ///< of the record's bytes
  TokenRange tokens;      ///< of the record's tokens
};

/// Reads a file record by record.
///
/// Every fault of the file is a FormatError with file and line that says how to put it right: a
/// line that is no JSON, a record of another kind, a sample without anything to learn. A setting
/// that does not go with the file's format is a ConfigError. Blank lines, a byte order mark and
/// CRLF are no faults.
class DatasetReader {
 public:
  /// Opens the file and looks at its first record. `tokenizer`, which must outlive the reader, may
  /// be null for tokenised records. Throws as RecordReader does, and ConfigError; what is wrong
  /// with the record is thrown by `next`.
  DatasetReader(const std::filesystem::path& path, const Tokenizer* tokenizer,
                const DatasetOptions& options = {});
  ~DatasetReader();
  DatasetReader(DatasetReader&& other) noexcept;

  /// The next sample, or nothing at the end of the file. After a FormatError the next call goes on
  /// with the next record, unless is_lost().
  std::optional<Sample> next();
  /// True where nothing can be read behind an error.
  bool is_lost() const;
  /// Of the sample that `next` has just returned.
  const SampleOrigin& origin() const;
  /// Makes a sample again. Throws FormatError where the record's bytes have changed since, IoError.
  /// Safe to call from several threads.
  Sample read_again(const SampleOrigin& origin) const;

  /// Text until a record was recognised.
  RecordFormat format() const;
  FileKind kind() const;
  LossOn loss_on() const;
  /// True where records go through the chat template.
  bool uses_chat_template() const;
  const DatasetStats& stats() const;
  /// Bytes of the file, and how many of them have been read.
  int64_t file_bytes() const;
  int64_t bytes_done() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

/// A FormatError for a file that has been read to its end and has no samples.
FormatError no_samples(const DatasetReader& reader, const std::filesystem::path& path,
                       const DatasetOptions& options);

/// A whole file in memory. For files that may be larger, see SampleFile.
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
