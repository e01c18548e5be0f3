#include "graft/text/record_decoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace graft::text {
namespace {

LossOn default_loss(RecordFormat format) {
  switch (format) {
    case RecordFormat::messages:
    case RecordFormat::sharegpt:
      return LossOn::assistant;
    case RecordFormat::text:
    case RecordFormat::tokens:
      return LossOn::all;
    default:
      return LossOn::completion;
  }
}

/// True for records that only a chat template can make a text of.
bool needs_template(RecordFormat format) {
  return format == RecordFormat::messages || format == RecordFormat::sharegpt;
}

bool has_turns(RecordFormat format) {
  return format != RecordFormat::text && format != RecordFormat::tokens;
}

}  // namespace

RecordDecoder::RecordDecoder(const RecordReader& file, const Record& first,
                             const Tokenizer* tokenizer, const DatasetOptions& options)
    : parser_(file, first, options.columns, record_keys()),
      tokenizer_(tokenizer),
      options_(options) {
  format_ = recognise(first);
  choose_loss();
  GRAFT_CHECK(format_ == RecordFormat::tokens || tokenizer_ != nullptr, ConfigError,
              "data: ", parser_.file(), " has ", name_of(format_),
              " records, which need a tokenizer, but the model comes without one");
  GRAFT_CHECK(parser_.kind() != FileKind::plain ||
                  options_.overlong.value_or(Overlong::split) == Overlong::split,
              ConfigError, "data: ", parser_.file(),
              " is plain text, which is split into samples of --max-seq-len; there is no "
              "--overlong ",
              name_of(*options_.overlong));
  GRAFT_CHECK(!options_.raw || (has_turns(format_) && !needs_template(format_)), ConfigError,
              "data: ", parser_.file(), " has ", name_of(format_),
              " records, for which there is no --raw: it joins prompts and answers without the "
              "chat template");
  const bool may_use_template = has_turns(format_) && !options_.raw;
  if (needs_template(format_) ||
      (may_use_template && tokenizer_->chat_templates().contains("default")))
    chat_ = std::make_unique<const Chat>(*tokenizer_, options_.template_variables != nullptr
                                                          ? *options_.template_variables
                                                          : io::Json::object());
  GRAFT_CHECK(chat_ != nullptr || !options_.needs_template, ConfigError, "data: ", parser_.file(),
              " has ", name_of(format_),
              " records, which go through no chat template; leave --chat-template and "
              "--chat-template-kwargs out");
  if (options_.vocab_size == 0 && tokenizer_ != nullptr)
    options_.vocab_size = tokenizer_->vocab_size();
  builder_ = std::make_unique<const SampleBuilder>(
      SampleBuilder::Options{.format = format_,
                             .loss_on = loss_on_,
                             .tokenizer = tokenizer_,
                             .chat = chat_.get(),
                             .vocab_size = options_.vocab_size});
}

RecordFormat RecordDecoder::recognise(const Record& record) const {
  if (parser_.kind() == FileKind::plain)
    return RecordFormat::text;
  const io::Json json = parser_.parse(record);
  const io::JsonObject object(json, parser_.place(record));
  const auto format = format_of(object);
  if (!format)
    throw unknown(record, object);
  return *format;
}

FormatError RecordDecoder::unknown(const Record& record, const io::JsonObject& object) const {
  const bool is_preference = object.has("chosen");
  return parser_.wrong(
      record,
      concat("the record has ", quoted_list(object.keys()),
             ", expected 'text', 'prompt' and 'completion', 'messages', 'conversations', "
             "'instruction' and 'output', 'question' and 'answer', or 'input_ids'; ",
             is_preference
                 ? "preferences are not learnt; --columns completion=chosen learns the answers "
                   "chosen, where there is a prompt"
                 : "--columns prompt=THIS,completion=THAT takes keys of other names"));
}

void RecordDecoder::choose_loss() {
  loss_on_ = options_.loss_on.value_or(default_loss(format_));
  const bool fits = has_turns(format_) ||
                    (format_ == RecordFormat::text && loss_on_ == LossOn::all) ||
                    (format_ == RecordFormat::tokens && !options_.loss_on);
  GRAFT_CHECK(fits, ConfigError, "data: ", parser_.file(), " has ", name_of(format_),
              " records, for which there is no --loss-on ", name_of(loss_on_),
              format_ == RecordFormat::tokens ? "; their labels say it" : "; they have no answers");
}

SampleBuilder::Built RecordDecoder::decode(const Record& record) const {
  SampleBuilder::Built built = build(record);
  built.sample.line = record.place.line;
  check_ids(record, built.sample);
  return built;
}

SampleBuilder::Built RecordDecoder::build(const Record& record) const {
  try {
    if (parser_.kind() == FileKind::plain)
      return builder_->build_text(record.bytes, record.place.begins, record.place.ends);
    const io::Json json = parser_.parse(record);
    const io::JsonObject object(json, parser_.place(record));
    if (const auto format = format_of(object); format != format_)
      throw parser_.wrong(record, concat("the record is no ", name_of(format_),
                                         " record as the first one is", format ? ", but a " : "",
                                         format ? concat(name_of(*format), " record") : "",
                                         "; a file has records of one kind"));
    return builder_->build(object);
  } catch (const FormatError& error) {
    throw parser_.about(record, error);
  }
}

void RecordDecoder::check_ids(const Record& record, const Sample& sample) const {
  if (options_.vocab_size == 0 || sample.input_ids.empty())
    return;
  const int64_t largest = std::ranges::max(sample.input_ids);
  if (largest < options_.vocab_size)
    return;
  std::string token;
  if (tokenizer_ != nullptr)
    token = tokenizer_->token(largest).value_or("");
  throw parser_.wrong(record, concat("the tokenizer makes token ", largest,
                                     token.empty() ? "" : concat(" ('", token, "')"),
                                     ", but the model has tokens 0 to ", options_.vocab_size - 1,
                                     " only; tokenizer and model do not belong together"));
}

}  // namespace graft::text
