#include "graft/text/dataset.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "graft/io/checksum.h"
#include "graft/text/record_decoder.h"

namespace graft::text {
namespace {

uint64_t checksum_of(const Record& record) {
  io::Checksum checksum;
  checksum.add(record.bytes);
  return checksum.value();
}

Sample part_of(Sample&& whole, TokenRange range) {
  if (range.count == static_cast<int64_t>(whole.input_ids.size()))
    return std::move(whole);
  const auto part = [&](const std::vector<int64_t>& of) {
    return std::vector<int64_t>(of.begin() + range.first, of.begin() + range.first + range.count);
  };
  return {part(whole.input_ids), part(whole.labels), whole.line};
}

/// A line that holds only one of these stands between two documents of a plain text.
std::vector<std::string> separators(const Tokenizer* tokenizer) {
  std::vector<std::string> texts = {"<|endoftext|>"};
  if (tokenizer != nullptr && tokenizer->special_tokens().contains("eos_token"))
    texts.push_back(tokenizer->special_tokens().at("eos_token"));
  return texts;
}

/// Large enough that few samples end with a piece instead of at their limit.
int64_t piece_bytes(int64_t max_seq_len) {
  constexpr int64_t least = int64_t{64} << 10, most = int64_t{1} << 20;
  return std::clamp(std::min(max_seq_len, most) * 64, least, most);
}

}  // namespace

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
      : records(path, {.separators = separators(tokenizer),
                       .piece_bytes = piece_bytes(options.max_seq_len)}),
        tokenizer_(tokenizer),
        options_(options) {
    try {
      first_ = records.next();
      if (first_)
        prepare(*first_);
    } catch (const FormatError&) {
      first_.reset();
      problem_ = std::current_exception();
    }
  }

  std::optional<Sample> next() {
    if (problem_)
      std::rethrow_exception(std::exchange(problem_, nullptr));
    while (ranges_.empty()) {
      std::optional<Record> record = first_ ? std::exchange(first_, {}) : records.next();
      if (!record)
        return std::nullopt;
      if (!decoder)
        prepare(*record);
      take(*record);
    }
    origin = {place_, checksum_, ranges_.back()};
    ranges_.pop_back();
    Sample sample = ranges_.empty() ? part_of(std::move(whole_), origin.tokens)
                                    : part_of(Sample(whole_), origin.tokens);
    ++stats.samples;
    stats.tokens += static_cast<int64_t>(sample.input_ids.size());
    stats.trained_tokens += count_trained_tokens(sample);
    return sample;
  }

  Sample read_again(const SampleOrigin& of) const {
    const Record record{of.record, records.read(of.record)};
    if (checksum_of(record) != of.checksum)
      throw FormatError::at_line(records.path(), of.record.line,
                                 "the record has changed since the run began; a data file must "
                                 "stay as it is until the run ends");
    return part_of(std::move(decoder->decode(record).sample), of.tokens);
  }

  RecordReader records;
  std::unique_ptr<const RecordDecoder> decoder;
  SampleOrigin origin;
  DatasetStats stats;
  bool is_lost = false;

 private:
  void prepare(const Record& first) {
    try {
      decoder = std::make_unique<const RecordDecoder>(records, first, tokenizer_, options_);
    } catch (const FormatError& error) {
      // What is wrong with the chat template is wrong for all records.
      is_lost = !error.file().starts_with(records.path());
      throw;
    }
  }

  bool is_plain() const { return records.kind() == FileKind::plain; }

  /// Makes the record's sample and decides what is kept of it.
  void take(const Record& record) {
    SampleBuilder::Built built = decoder->decode(record);
    whole_ = std::move(built.sample);
    place_ = record.place;
    const auto size = static_cast<int64_t>(whole_.input_ids.size());
    if (count_trained_tokens(whole_) == 0) {
      // The end of a document may be a single token, which has nothing to be predicted from.
      if (is_plain())
        return;
      throw FormatError::at_line(
          records.path(), place_.line,
          concat("none of the ", size,
                 " tokens carries loss, so there is nothing to learn; delete the record, or choose "
                 "another --loss-on"));
    }
    checksum_ = checksum_of(record);
    stats.records += !is_plain() || place_.begins;
    stats.without_stop += !built.stops;
    const Overlong overlong =
        options_.overlong.value_or(is_plain() ? Overlong::split : Overlong::cut);
    ranges_ = kept_ranges(size, options_.max_seq_len, overlong);
    count_kept(size, overlong);
    std::ranges::reverse(ranges_);
  }

  /// Drops ranges without anything to learn, and counts what happened.
  void count_kept(int64_t size, Overlong overlong) {
    const bool fits = ranges_.size() == 1 && ranges_[0].count == size;
    const int64_t longest = is_plain() && !ranges_.empty() ? ranges_[0].count : size;
    stats.longest = std::max(stats.longest, longest);
    if (fits)
      return;
    const auto learnable = [&](TokenRange range) {
      return count_trained_tokens(part_of(Sample(whole_), range)) > 0;
    };
    if (overlong == Overlong::drop) {
      ++stats.dropped_long;
      stats.dropped_tokens += size;
    } else if (overlong == Overlong::cut && learnable(ranges_[0])) {
      ++stats.cut_samples;
      stats.cut_tokens += size - ranges_[0].count;
    } else if (overlong == Overlong::cut) {
      ranges_.clear();
      ++stats.dropped_unlearnable;
      stats.dropped_tokens += size;
    } else {
      stats.split_records += !is_plain();
      stats.dropped_pieces += std::erase_if(ranges_, [&](TokenRange range) {
        const bool dropped = !learnable(range);
        stats.dropped_tokens += dropped ? range.count : 0;
        return dropped;
      });
    }
  }

  const Tokenizer* tokenizer_;
  DatasetOptions options_;
  std::optional<Record> first_;
  std::exception_ptr problem_;  // of the first record
  // The record that samples are being made of; its ranges from the last to the next.
  Sample whole_;
  RecordPlace place_;
  uint64_t checksum_ = 0;
  std::vector<TokenRange> ranges_;
};

DatasetReader::DatasetReader(const std::filesystem::path& path, const Tokenizer* tokenizer,
                             const DatasetOptions& options)
    : reader_(std::make_unique<Reader>(path, tokenizer, options)) {}
DatasetReader::~DatasetReader() = default;
DatasetReader::DatasetReader(DatasetReader&& other) noexcept = default;

std::optional<Sample> DatasetReader::next() {
  return reader_->next();
}
bool DatasetReader::is_lost() const {
  return reader_->is_lost || reader_->records.is_lost();
}
const SampleOrigin& DatasetReader::origin() const {
  return reader_->origin;
}
Sample DatasetReader::read_again(const SampleOrigin& origin) const {
  return reader_->read_again(origin);
}
RecordFormat DatasetReader::format() const {
  return reader_->decoder ? reader_->decoder->format() : RecordFormat::text;
}
FileKind DatasetReader::kind() const {
  return reader_->records.kind();
}
LossOn DatasetReader::loss_on() const {
  return reader_->decoder ? reader_->decoder->loss_on() : LossOn::all;
}
bool DatasetReader::uses_chat_template() const {
  return reader_->decoder && reader_->decoder->uses_chat_template();
}
const DatasetStats& DatasetReader::stats() const {
  return reader_->stats;
}
int64_t DatasetReader::file_bytes() const {
  return reader_->records.file_bytes();
}
int64_t DatasetReader::bytes_done() const {
  return reader_->records.bytes_done();
}

FormatError no_samples(const DatasetReader& reader, const std::filesystem::path& path,
                       const DatasetOptions& options) {
  const int64_t records = reader.stats().records;
  if (records == 0)
    return FormatError(path.string(), -1, "the file has no records");
  return FormatError(
      path.string(), -1,
      concat("nothing is left of ", records, records == 1 ? " record" : " records", ": with ",
             reader.stats().longest, " tokens at most, ", records == 1 ? "it is" : "they are",
             " too long for ", options.max_seq_len,
             reader.stats().dropped_unlearnable > 0 ? ", and what carries loss stands behind" : "",
             "; use a larger --max-seq-len"));
}

Dataset read_dataset(const std::filesystem::path& path, const Tokenizer* tokenizer,
                     const DatasetOptions& options) {
  DatasetReader reader(path, tokenizer, options);
  Dataset result;
  while (auto sample = reader.next())
    result.samples.push_back(std::move(*sample));
  if (result.samples.empty())
    throw no_samples(reader, path, options);
  result.format = reader.format();
  result.loss_on = reader.loss_on();
  result.uses_chat_template = reader.uses_chat_template();
  result.stats = reader.stats();
  return result;
}

}  // namespace graft::text
