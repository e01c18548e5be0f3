// RecordDecoder: the bytes of a record become a sample. What all records of a file share, its
// format above all, is decided by one of them. Internal to text.
#pragma once

#include <memory>
#include <string>

#include "graft/text/chat.h"
#include "graft/text/dataset_options.h"
#include "graft/text/record_format.h"
#include "graft/text/record_parser.h"
#include "graft/text/record_reader.h"
#include "graft/text/sample_builder.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

class RecordDecoder {
 public:
  /// Decides by the record `first` how all of the file are read. `tokenizer`, which must outlive
  /// this, may be null for tokenised records. Throws FormatError with file and line where the
  /// record is of no known kind, ConfigError where the settings do not go with it.
  RecordDecoder(const RecordReader& file, const Record& first, const Tokenizer* tokenizer,
                const DatasetOptions& options);

  /// The whole sample. Throws FormatError with file and line. Safe to call from several threads.
  SampleBuilder::Built decode(const Record& record) const;

  RecordFormat format() const { return format_; }
  LossOn loss_on() const { return loss_on_; }
  bool uses_chat_template() const { return chat_ != nullptr; }

 private:
  RecordFormat recognise(const Record& record) const;
  FormatError unknown(const Record& record, const io::JsonObject& object) const;
  void choose_loss();
  SampleBuilder::Built build(const Record& record) const;
  void check_ids(const Record& record, const Sample& sample) const;

  RecordParser parser_;
  const Tokenizer* tokenizer_;
  DatasetOptions options_;
  RecordFormat format_ = RecordFormat::text;
  LossOn loss_on_ = LossOn::all;
  std::unique_ptr<const Chat> chat_;
  std::unique_ptr<const SampleBuilder> builder_;
};

}  // namespace graft::text
