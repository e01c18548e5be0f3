#include "graft/text/record_decoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/text/line_reader.h"

namespace graft::text {
namespace {

constexpr io::JsonLimits record_limits{.max_bytes = LineReader::max_line_bytes};

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

std::string quoted_list(const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys)
    text += concat(text.empty() ? "'" : ", '", key, "'");
  return text.empty() ? "no keys" : text;
}

}  // namespace

RecordDecoder::RecordDecoder(const RecordReader& file, const Record& first,
                             const Tokenizer* tokenizer, const DatasetOptions& options)
    : file_(file.path()), kind_(file.kind()), tokenizer_(tokenizer), options_(options) {
  check_columns(first);
  format_ = recognise(first);
  choose_loss();
  GRAFT_CHECK(format_ == RecordFormat::tokens || tokenizer_ != nullptr, ConfigError,
              "data: ", file_, " has ", name_of(format_),
              " records, which need a tokenizer, but the model comes without one");
  GRAFT_CHECK(
      kind_ != FileKind::plain || options_.overlong.value_or(Overlong::split) == Overlong::split,
      ConfigError, "data: ", file_,
      " is plain text, which is split into samples of --max-seq-len; there is no "
      "--overlong ",
      name_of(*options_.overlong));
  GRAFT_CHECK(!options_.raw || (has_turns(format_) && !needs_template(format_)), ConfigError,
              "data: ", file_, " has ", name_of(format_),
              " records, for which there is no --raw: it joins prompts and answers without the "
              "chat template");
  const bool may_use_template = has_turns(format_) && !options_.raw;
  if (needs_template(format_) ||
      (may_use_template && tokenizer_->chat_templates().contains("default")))
    chat_ = std::make_unique<const Chat>(*tokenizer_, options_.template_variables != nullptr
                                                          ? *options_.template_variables
                                                          : io::Json::object());
  GRAFT_CHECK(chat_ != nullptr || !options_.needs_template, ConfigError, "data: ", file_, " has ",
              name_of(format_),
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

std::string RecordDecoder::place(const Record& record) const {
  return concat(file_, ":", record.place.line);
}

FormatError RecordDecoder::wrong(const Record& record, std::string_view what) const {
  return FormatError::at_line(file_, record.place.line, what);
}

/// The JSON of a record. Of a value that does not end with its line it is said that it should.
io::Json RecordDecoder::json_of(const Record& record) const {
  try {
    return io::parse_json(record.bytes, place(record), record_limits);
  } catch (const FormatError& error) {
    if (kind_ != FileKind::lines || error.offset() != std::ssize(record.bytes))
      throw;
    throw wrong(record,
                "the line ends inside of its JSON value; a record stands on a line of its "
                "own, or in a list: [{…}, {…}]");
  }
}

io::Json RecordDecoder::parse(const Record& record) const {
  io::Json json = json_of(record);
  if (json.is_string())
    return {{"text", std::move(json)}};
  if (!json.is_object())
    throw wrong(record, concat("the ", kind_ == FileKind::lines ? "line" : "record",
                               " is JSON, but no object; a record is {\"text\": …} or the like",
                               kind_ == FileKind::lines ? ", one a line" : ""));
  for (const auto& [ours, theirs] : options_.columns) {
    const auto found = json.find(theirs);
    if (found == json.end())
      continue;
    io::Json value = std::move(*found);
    json.erase(theirs);
    json[ours] = std::move(value);
  }
  return json;
}

/// A key that no record has would change nothing in silence.
void RecordDecoder::check_columns(const Record& first) const {
  if (options_.columns.empty())
    return;
  GRAFT_CHECK(kind_ != FileKind::plain, ConfigError, "data: --columns names keys of records, but ",
              file_, " is plain text");
  const io::Json json = io::parse_json(first.bytes, place(first), record_limits);
  if (!json.is_object())
    return;  // refused for that
  const std::vector<std::string> keys = io::JsonObject(json, file_).keys();
  for (const auto& [ours, theirs] : options_.columns) {
    const bool known = std::ranges::find(record_keys(), ours) != record_keys().end();
    GRAFT_CHECK(known, ConfigError, "data: --columns gives '", theirs, "' the name '", ours,
                "', which is none that graft knows", did_you_mean(ours, record_keys()),
                "; known are ", quoted_list({record_keys().begin(), record_keys().end()}));
    GRAFT_CHECK(std::ranges::find(keys, theirs) != keys.end(), ConfigError, "data: --columns ",
                ours, "=", theirs, " given, but the record in ", place(first), " has ",
                quoted_list(keys), did_you_mean(theirs, keys));
  }
}

RecordFormat RecordDecoder::recognise(const Record& record) const {
  if (kind_ == FileKind::plain)
    return RecordFormat::text;
  const io::Json json = parse(record);
  const io::JsonObject object(json, place(record));
  const auto format = format_of(object);
  if (!format)
    throw unknown(record, object);
  return *format;
}

FormatError RecordDecoder::unknown(const Record& record, const io::JsonObject& object) const {
  const bool is_preference = object.has("chosen");
  return wrong(
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
  GRAFT_CHECK(fits, ConfigError, "data: ", file_, " has ", name_of(format_),
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
    if (kind_ == FileKind::plain)
      return builder_->build_text(record.bytes, record.place.begins, record.place.ends);
    const io::Json json = parse(record);
    const io::JsonObject object(json, place(record));
    if (const auto format = format_of(object); format != format_)
      throw wrong(record, concat("the record is no ", name_of(format_),
                                 " record as the first one is", format ? ", but a " : "",
                                 format ? concat(name_of(*format), " record") : "",
                                 "; a file has records of one kind"));
    return builder_->build(object);
  } catch (const FormatError& error) {
    if (error.file() == place(record) || error.file() == file_)
      throw;
    throw wrong(record, error.what());  // of the chat template, say
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
  throw wrong(record, concat("the tokenizer makes token ", largest,
                             token.empty() ? "" : concat(" ('", token, "')"),
                             ", but the model has tokens 0 to ", options_.vocab_size - 1,
                             " only; tokenizer and model do not belong together"));
}

}  // namespace graft::text
