#include "graft/text/prompt_file.h"

#include <nlohmann/json.hpp>

#include "graft/tensor/error.h"
#include "graft/text/line_reader.h"
#include "graft/text/record_parser.h"
#include "graft/text/record_reader.h"

namespace graft::text {
namespace {

bool holds_records(const std::filesystem::path& path) {
  return path.extension() == ".jsonl" || path.extension() == ".json";
}

/// Reads one prompt after the other into a PromptFile.
class Reading {
 public:
  Reading(const std::filesystem::path& path, const Prompter& prompter,
          const PromptFileOptions& options)
      : path_(path.string()), prompter_(prompter), options_(options) {}

  PromptFile lines() {
    LineReader lines(path_);
    while (!is_full()) {
      const std::optional<std::string> line = lines.next();
      if (!line)
        break;
      if (line->find_first_not_of(" \t") == line->npos)
        continue;
      try {
        add(prompter_.from_text(*line), lines.line());
      } catch (const ConfigError& error) {
        throw FormatError::at_line(path_, lines.line(), error.what());
      }
    }
    return take();
  }

  PromptFile records() {
    RecordReader file(path_);
    std::optional<Record> record = file.next();
    if (!record)
      return take();
    const RecordParser parser(file, *record, options_.columns, record_keys());
    for (; record && !is_full(); record = file.next()) {
      try {
        add(from(parser, *record), record->place.line);
      } catch (const FormatError& error) {
        throw parser.about(*record, error);
      } catch (const ConfigError& error) {
        throw parser.about(*record, error);
      }
    }
    return take();
  }

 private:
  bool is_full() const { return options_.limit && std::ssize(file_.prompts) >= *options_.limit; }

  Prompt from(const RecordParser& parser, const Record& record) {
    const io::Json json = parser.parse(record);
    const io::JsonObject object(json, parser.place(record));
    const auto format = question_format_of(object);
    if (!format)
      throw parser.wrong(record, concat("the record has ", quoted_list(object.keys()),
                                        ", expected 'prompt', 'messages', 'conversations', "
                                        "'question' or 'instruction'"));
    if (!file_.format)
      file_.format = format;
    if (format != file_.format)
      throw parser.wrong(record, concat("the record is no ", name_of(*file_.format),
                                        " record as the first one is, but a ", name_of(*format),
                                        " record; a file has records of one kind"));
    return prompter_.from_record(*format, object, options_.with_reference);
  }

  void add(Prompt prompt, int64_t line) {
    if (options_.positions > 0)
      check_prompt(prompt.ids, options_.positions);
    prompt.line = line;
    file_.prompts.push_back(std::move(prompt));
  }

  PromptFile take() {
    if (file_.prompts.empty())
      throw FormatError(path_, -1, "there is no prompt in it, expected one a line");
    return std::move(file_);
  }

  const std::string path_;
  const Prompter& prompter_;
  const PromptFileOptions& options_;
  PromptFile file_;
};

}  // namespace

PromptFile read_prompts(const std::filesystem::path& path, const Prompter& prompter,
                        const PromptFileOptions& options) {
  if (holds_records(path))
    return Reading(path, prompter, options).records();
  GRAFT_CHECK(!options.with_reference, ConfigError, "data: ", path.string(),
              " holds no records: a .jsonl or .json file of questions with answers is expected");
  return Reading(path, prompter, options).lines();
}

void check_prompt(const std::vector<int64_t>& ids, int64_t positions) {
  GRAFT_CHECK(!ids.empty(), ConfigError,
              "prompt: it has no tokens, so there is nothing to continue; give a text");
  GRAFT_CHECK(std::ssize(ids) < positions, ConfigError, "prompt: it has ", ids.size(),
              " tokens, but the model has ", positions,
              " positions, for prompt and answer together");
}

}  // namespace graft::text
