#include "graft/text/choice_file.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/tensor/error.h"
#include "graft/text/jinja/strings.h"
#include "graft/text/record_parser.h"
#include "graft/text/record_reader.h"

namespace graft::text {
namespace {

using io::JsonKind;
using Keys = std::span<const std::string>;

Keys question_keys() {
  static const std::vector<std::string> keys = {"question", "query", "prompt", "context",
                                                "messages"};
  return keys;
}

Keys gold_keys() {
  static const std::vector<std::string> keys = {"answer", "gold", "label", "answerKey"};
  return keys;
}

/// All keys that a record's own may be renamed to.
std::vector<std::string> choice_keys() {
  std::vector<std::string> keys = {"choices", "tools"};
  keys.insert(keys.begin(), question_keys().begin(), question_keys().end());
  keys.insert(keys.end(), gold_keys().begin(), gold_keys().end());
  return keys;
}

/// The one of these keys that the record has.
std::string only_key(const io::JsonObject& record, Keys keys, std::string_view meaning) {
  std::vector<std::string> found;
  for (const std::string& key : keys)
    if (record.has(key))
      found.push_back(key);
  if (found.size() == 1)
    return found[0];
  throw FormatError(
      record.file(), -1,
      concat(found.empty() ? "the record has " : "the record has all of ",
             quoted_list(found.empty() ? record.keys() : found), ", expected one of ",
             quoted_list(keys), " as ", meaning,
             found.empty() ? "; --columns gives keys of the file's own their names" : ""));
}

struct Choices {
  std::vector<std::string> texts;
  std::vector<std::string> labels;  // where the file has some
};

Choices choices_of(const io::JsonObject& record) {
  Choices choices;
  if (record.kind("choices") == JsonKind::object) {
    const io::JsonObject both = record.object("choices");
    choices = {both.texts("text"), both.texts("label")};
    if (choices.labels.size() != choices.texts.size())
      throw both.wrong("label", concat("as many as there are texts, ", choices.texts.size()));
  } else {
    choices.texts = record.texts("choices");
  }
  if (choices.texts.size() < 2)
    throw record.wrong("choices", "at least two");
  if (std::ranges::find(choices.texts, "") != choices.texts.end())
    throw record.wrong("choices", "texts that are not empty");
  return choices;
}

/// Adds the place of a value in a list, where it is there.
void add_place(const std::vector<std::string>& list, const std::string& value,
               std::set<size_t>& places) {
  const auto found = std::ranges::find(list, value);
  if (found != list.end())
    places.insert(static_cast<size_t>(found - list.begin()));
}

/// What a text without labels may mean besides: "C" or "2".
std::optional<size_t> letter_or_number(const std::string& text) {
  if (text.size() == 1 && text[0] >= 'A' && text[0] <= 'Z')
    return static_cast<size_t>(text[0] - 'A');
  if (text.size() == 1 && text[0] >= 'a' && text[0] <= 'z')
    return static_cast<size_t>(text[0] - 'a');
  size_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return number;
}

size_t gold_of(const io::JsonObject& record, const Choices& choices) {
  const std::string key = only_key(record, gold_keys(), "the right choice");
  const auto count = static_cast<int64_t>(choices.texts.size());
  if (record.kind(key) == JsonKind::integer)
    return static_cast<size_t>(record.integer(key, {.min = 0, .max = count - 1}));
  const std::string text = record.text(key);
  std::set<size_t> places;
  add_place(choices.texts, text, places);
  add_place(choices.labels, text, places);
  if (choices.labels.empty())
    if (const auto place = letter_or_number(text); place && *place < choices.texts.size())
      places.insert(*place);
  if (places.empty())
    throw record.wrong(key, concat("the number of a choice from 0 to ", count - 1,
                                   ", its letter or label, or its text"));
  if (places.size() > 1)
    throw record.wrong(
        key, concat("what means one choice only: it may mean number ", *places.begin(), " or ",
                    *places.rbegin(), " (from 0); give the number, without quotes"));
  return *places.begin();
}

Prompt context_of(const io::JsonObject& record, const Prompter& prompter) {
  const std::string key = only_key(record, question_keys(), "the question");
  if (key == "query" || key == "context")
    return prompter.from_text(record.text(key));
  const RecordFormat format = key == "messages" ? RecordFormat::messages
                              : key == "prompt" ? RecordFormat::prompt_completion
                                                : RecordFormat::question_answer;
  return prompter.from_record(format, record, false);
}

}  // namespace

Sample continuation_sample(const Tokenizer& tokenizer, std::string_view context,
                           std::string_view continuation) {
  const std::string text = concat(context, continuation);
  const std::string_view before = jinja::stripped(context, false, true);
  Sample sample;
  const bool is_alone = before.empty();
  if (!is_alone)
    sample.input_ids = tokenizer.encode_with_prefix(before).ids;
  const std::vector<int64_t> whole = is_alone
                                         ? tokenizer.encode(text, {.add_special_tokens = false})
                                         : tokenizer.encode_with_prefix(text).ids;
  const size_t of_context = sample.input_ids.size();
  GRAFT_CHECK(whole.size() > of_context, ConfigError, "choice: behind its context '", continuation,
              "' has no token of its own, so that it has no likelihood");
  if (is_alone) {
    const auto start = tokenizer.bos_id() ? tokenizer.bos_id() : tokenizer.eos_id();
    GRAFT_CHECK(start, ConfigError,
                "choice: the context is empty, and the tokenizer has no token that begins a text");
    sample.input_ids.push_back(*start);
  }
  sample.labels.assign(sample.input_ids.size(), no_label);
  const auto own = whole.begin() + static_cast<int64_t>(of_context);
  sample.input_ids.insert(sample.input_ids.end(), own, whole.end());
  sample.labels.insert(sample.labels.end(), own, whole.end());
  return sample;
}

ChoiceFile read_choices(const std::filesystem::path& path, const Tokenizer& tokenizer,
                        const Prompter& prompter, const ChoiceFileOptions& options) {
  const std::string delimiter = options.delimiter.value_or(prompter.uses_template() ? "" : " ");
  ChoiceFile file;
  RecordReader reader(path);
  GRAFT_CHECK(reader.kind() != FileKind::plain, ConfigError, "data: ", path.string(),
              " is plain text, expected a .jsonl or .json file of questions with choices");
  std::optional<Record> record = reader.next();
  if (!record)
    throw FormatError(path.string(), -1, "the file has no records");
  const RecordParser parser(reader, *record, options.columns, choice_keys());
  for (; record; record = reader.next()) {
    if (options.limit && std::ssize(file.questions) >= *options.limit)
      break;
    try {
      const io::Json json = parser.parse(*record);
      const io::JsonObject object(json, parser.place(*record));
      ChoiceQuestion question{.context = context_of(object, prompter).text, .choices = {}};
      const Choices choices = choices_of(object);
      question.gold = gold_of(object, choices);
      question.first = file.samples.size();
      question.line = record->place.line;
      for (const std::string& choice : choices.texts) {
        file.samples.push_back(
            continuation_sample(tokenizer, question.context, delimiter + choice));
        file.samples.back().line = question.line;
      }
      question.choices = choices.texts;
      file.questions.push_back(std::move(question));
    } catch (const FormatError& error) {
      throw parser.about(*record, error);
    } catch (const ConfigError& error) {
      throw parser.about(*record, error);
    }
  }
  return file;
}

}  // namespace graft::text
