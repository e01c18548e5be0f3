#include "graft/text/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/text/chat.h"
#include "graft/text/line_reader.h"
#include "graft/text/sample_builder.h"

namespace graft::text {
namespace {

constexpr io::JsonLimits record_limits{.max_bytes = LineReader::max_line_bytes};

LossOn default_loss(RecordFormat format) {
  switch (format) {
    case RecordFormat::messages:
      return LossOn::assistant;
    case RecordFormat::prompt_completion:
      return LossOn::completion;
    default:
      return LossOn::all;
  }
}

/// Labels at the first position are never predicted.
int64_t count_trained(const Sample& sample) {
  if (sample.labels.empty())
    return 0;
  return static_cast<int64_t>(sample.labels.size()) - 1 -
         std::count(sample.labels.begin() + 1, sample.labels.end(), no_label);
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\v\f") == std::string_view::npos;
}

}  // namespace

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
  }
  return "";
}

std::string_view name_of(LossOn loss_on) {
  switch (loss_on) {
    case LossOn::assistant:
      return "assistant";
    case LossOn::completion:
      return "completion";
    case LossOn::all:
      return "all";
  }
  return "";
}

class DatasetReader::Reader {
 public:
  Reader(const std::filesystem::path& path, const Tokenizer* tokenizer,
         const DatasetOptions& options)
      : lines_(path), tokenizer_(tokenizer), options_(options) {
    read_record();
    if (record_)
      prepare();
  }

  std::optional<Sample> next() {
    if (!record_)
      return std::nullopt;
    SampleBuilder::Built built = build();
    count(built);
    read_record();
    return std::move(built.sample);
  }

  RecordFormat format = RecordFormat::text;
  LossOn loss_on = LossOn::all;
  std::optional<Chat> chat;
  DatasetStats stats;

 private:
  /// "train.jsonl:12", as which errors name the record.
  std::string place() const { return concat(lines_.path(), ":", line_); }
  FormatError wrong(std::string_view what) const {
    return FormatError::at_line(lines_.path(), line_, what);
  }

  void read_record() {
    record_.reset();
    while (const auto line = lines_.next()) {
      if (is_blank(*line))
        continue;
      line_ = lines_.line();
      record_.emplace(io::parse_json(*line, place(), record_limits));
      if (!record_->is_object())
        throw wrong(
            "the line is JSON, but no object; a record is {\"text\": …} or the like, one a line");
      return;
    }
  }

  /// Decides by the first record how all are read.
  void prepare() {
    const io::JsonObject record(*record_, place());
    const auto known = format_of(record);
    if (!known) {
      std::string keys;
      for (const std::string& key : record.keys())
        keys += concat(keys.empty() ? "'" : ", '", key, "'");
      throw wrong(
          concat("the record has ", keys.empty() ? "no keys" : keys,
                 ", expected 'text', 'prompt' and 'completion', 'messages', or 'input_ids'"));
    }
    format = *known;
    choose_loss();
    const bool tokenised = format == RecordFormat::tokens;
    GRAFT_CHECK(tokenised || tokenizer_ != nullptr, ConfigError, "data: ", lines_.path(), " has ",
                name_of(format),
                " records, which need a tokenizer, but the model comes without one");
    const bool wants_chat = format == RecordFormat::messages ||
                            (format == RecordFormat::prompt_completion && !options_.raw &&
                             tokenizer_->chat_templates().contains("default"));
    if (wants_chat)
      chat.emplace(*tokenizer_);
    const int64_t vocab_size = options_.vocab_size > 0 ? options_.vocab_size
                               : tokenizer_ != nullptr ? tokenizer_->vocab_size()
                                                       : 0;
    builder_.emplace(SampleBuilder::Options{.format = format,
                                            .loss_on = loss_on,
                                            .tokenizer = tokenizer_,
                                            .chat = chat ? &*chat : nullptr,
                                            .vocab_size = vocab_size});
  }

  void choose_loss() {
    loss_on = options_.loss_on.value_or(default_loss(format));
    const bool fits = (format == RecordFormat::text && loss_on == LossOn::all) ||
                      (format == RecordFormat::tokens && !options_.loss_on) ||
                      format == RecordFormat::messages || format == RecordFormat::prompt_completion;
    GRAFT_CHECK(
        fits, ConfigError, "data: ", lines_.path(), " has ", name_of(format),
        " records, for which there is no --loss-on ", name_of(loss_on),
        format == RecordFormat::tokens ? "; their labels say it" : "; they have no answers");
  }

  SampleBuilder::Built build() const {
    const io::JsonObject record(*record_, place());
    if (format_of(record) != format)
      throw wrong(concat("the record is no ", name_of(format),
                         " record as the first one is; a file has records of one kind"));
    try {
      SampleBuilder::Built built = builder_->build(record);
      built.sample.line = line_;
      return built;
    } catch (const FormatError& error) {
      if (error.file() == record.file())
        throw;
      throw wrong(error.what());  // of the chat template, say
    }
  }

  void count(SampleBuilder::Built& built) {
    Sample& sample = built.sample;
    const auto size = static_cast<int64_t>(sample.input_ids.size());
    const int64_t limit = options_.max_seq_len;
    const bool cut = limit > 0 && size > limit;
    const int64_t trained_before = count_trained(sample);
    if (cut) {
      sample.input_ids.resize(static_cast<size_t>(limit));
      sample.labels.resize(static_cast<size_t>(limit));
    }
    const int64_t trained = count_trained(sample);
    if (trained == 0)
      throw nothing_to_learn(size, trained_before);
    ++stats.samples;
    stats.tokens += static_cast<int64_t>(sample.input_ids.size());
    stats.trained_tokens += trained;
    stats.cut_samples += cut;
    stats.longest = std::max(stats.longest, size);
    stats.without_stop += !built.stops;
  }

  FormatError nothing_to_learn(int64_t size, int64_t trained_before) const {
    if (trained_before == 0)
      return wrong(concat("none of the ", size,
                          " tokens carries loss, so there is nothing to learn; delete the line, or "
                          "choose another --loss-on"));
    return wrong(concat("nothing to learn is left after cutting ", size, " tokens to ",
                        options_.max_seq_len, ": the ", trained_before,
                        " that carry loss stand behind; use a larger --max-seq-len, or shorten the "
                        "prompt"));
  }

  LineReader lines_;
  const Tokenizer* tokenizer_;
  DatasetOptions options_;
  std::optional<SampleBuilder> builder_;
  std::optional<io::Json> record_;  // the next one
  int64_t line_ = 0;                // its line
};

DatasetReader::DatasetReader(const std::filesystem::path& path, const Tokenizer* tokenizer,
                             const DatasetOptions& options)
    : reader_(std::make_unique<Reader>(path, tokenizer, options)) {}
DatasetReader::~DatasetReader() = default;
DatasetReader::DatasetReader(DatasetReader&& other) noexcept = default;

std::optional<Sample> DatasetReader::next() {
  return reader_->next();
}
RecordFormat DatasetReader::format() const {
  return reader_->format;
}
LossOn DatasetReader::loss_on() const {
  return reader_->loss_on;
}
bool DatasetReader::uses_chat_template() const {
  return reader_->chat.has_value();
}
const DatasetStats& DatasetReader::stats() const {
  return reader_->stats;
}

Dataset read_dataset(const std::filesystem::path& path, const Tokenizer* tokenizer,
                     const DatasetOptions& options) {
  DatasetReader reader(path, tokenizer, options);
  Dataset result;
  while (auto sample = reader.next())
    result.samples.push_back(std::move(*sample));
  if (result.samples.empty())
    throw FormatError(path.string(), -1, "the file has no records");
  result.format = reader.format();
  result.loss_on = reader.loss_on();
  result.uses_chat_template = reader.uses_chat_template();
  result.stats = reader.stats();
  return result;
}

}  // namespace graft::text
