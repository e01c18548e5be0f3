// graft generate: answers a prompt, or every prompt of a file.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/answer.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/prompt.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/line_reader.h"

namespace graft::cli {
namespace {

struct GenerateFlags {
  ModelFlags model;
  AnswerFlags answer;
  std::string prompt, prompts, system;
  bool raw = false;
  int64_t batch_size = 8;
  bool json = false;
};

void add_flags(Flags& flags, GenerateFlags& values) {
  add_model_flags(flags, values.model);
  flags.group("Prompt");
  flags.add("prompt", values.prompt, "TEXT", "what to answer; with --raw: what to continue");
  flags.add("prompts", values.prompts, "FILE",
            "one prompt a line, or a .jsonl file with {\"prompt\": \"…\"} lines");
  flags.add("system", values.system, "TEXT", "the system's turn before the prompt");
  flags.add("raw", values.raw, "continue the text as it is, without the chat template");
  flags.add("batch-size", values.batch_size, "N", "prompts answered at the same time", {1, 4096});
  add_answer_flags(flags, values.answer);
  flags.group("Result");
  flags.add("json", values.json,
            "print one JSON object: text, token_ids, prompt_tokens, tokens_per_second");
  flags.config_file();
  flags.rivals("prompt", "prompts");
  flags.not_a_setting("json");
  flags.examples({"graft generate --model MODEL --adapter my-adapter --prompt \"Who are you?\"",
                  "graft generate --model MODEL --prompts questions.txt --json"});
}

/// The lines of a file that are not empty; of a .jsonl file their "prompt".
std::vector<std::string> read_prompts(const std::filesystem::path& path) {
  std::vector<std::string> prompts;
  text::LineReader lines(path);
  while (std::optional<std::string> line = lines.next()) {
    if (line->find_first_not_of(" \t") == line->npos)
      continue;
    if (path.extension() == ".jsonl") {
      const std::string where = concat(path.string(), ":", lines.line());
      const io::Json json = io::parse_json(*line, where);
      line = io::JsonObject(json, where).text("prompt");
    }
    prompts.push_back(*std::move(line));
  }
  if (prompts.empty())
    throw FormatError(path.string(), -1, "there is no prompt in it, expected one a line");
  return prompts;
}

std::vector<int64_t> prompt_ids(const GenerateFlags& values, const Prompter& prompter,
                                const std::string& prompt) {
  if (values.raw)
    return prompter.raw(prompt);
  std::vector<text::Message> turns;
  if (!values.system.empty())
    turns.push_back({"system", values.system});
  turns.push_back({"user", prompt});
  return prompter.conversation(turns);
}

io::Json answer_json(const Answer& answer, size_t prompt_tokens) {
  return {{"text", answer.text}, {"token_ids", answer.ids}, {"prompt_tokens", prompt_tokens}};
}

/// Answers all prompts, some at a time. One answer is shown while it grows.
class Generation {
 public:
  Generation(const GenerateFlags& values, const nn::CausalLM& model,
             const text::Tokenizer& tokenizer)
      : values_(values), model_(model), tokenizer_(tokenizer), prompter_(tokenizer) {}

  void run(const std::vector<std::string>& prompts) {
    if (!values_.raw && !prompter_.has_template())
      std::cerr << "the model has no chat template: the text is continued as it is (--raw)\n";
    std::vector<std::vector<int64_t>>
        ids;  // all of them first: a bad one is known before any answer
    for (const std::string& prompt : prompts)
      ids.push_back(prompt_ids(values_, prompter_, prompt));
    const auto batch = static_cast<size_t>(values_.batch_size);
    for (size_t first = 0; first < ids.size() && !stop_requested(); first += batch) {
      const size_t last = std::min(first + batch, ids.size());
      answer_batch(prompts, {.ids = {ids.begin() + static_cast<std::ptrdiff_t>(first),
                                     ids.begin() + static_cast<std::ptrdiff_t>(last)},
                             .goes_on = values_.raw || !prompter_.has_template(),
                             .first_row = static_cast<int64_t>(first)});
    }
  }

  void print_json(bool several) const {
    const double speed = seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0;
    io::Json json = several ? io::Json{{"results", results_}} : results_.at(0);
    json["tokens_per_second"] = speed;
    std::cout << io::to_text(json, -1) << "\n";
  }

 private:
  void answer_batch(const std::vector<std::string>& prompts, const Prompts& batch) {
    const bool streams = prompts.size() == 1 && !values_.json;
    const Terminal terminal = terminal_of(1);
    const auto show = [&](size_t, const std::string& piece) {
      if (streams)
        std::cout << (terminal.interactive ? shown(piece) : piece) << std::flush;
    };
    const Answers batch_answers = answer(model_, tokenizer_, batch, values_.answer, {}, show);
    seconds_ += batch_answers.seconds;
    for (size_t i = 0; i < batch_answers.answers.size(); ++i) {
      const Answer& one = batch_answers.answers[i];
      tokens_ += one.ids.size();
      results_.push_back(answer_json(one, batch.ids[i].size()));
      if (streams)
        std::cout << std::endl;
      else if (!values_.json)
        std::cout << terminal.bold("> " + shown(prompts[static_cast<size_t>(batch.first_row) + i]))
                  << "\n"
                  << shown(one.text) << "\n"
                  << std::endl;
    }
  }

  const GenerateFlags& values_;
  const nn::CausalLM& model_;
  const text::Tokenizer& tokenizer_;
  const Prompter prompter_;
  std::vector<io::Json> results_;
  size_t tokens_ = 0;
  double seconds_ = 0;
};

}  // namespace

ExitCode run_generate(Arguments arguments) {
  GenerateFlags values;
  Flags flags("generate",
              "Answers a prompt, or continues a text with --raw. The answer goes to stdout as it "
              "grows.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  const bool several = flags.given("prompts");
  GRAFT_CHECK(several || flags.given("prompt"), ConfigError,
              "generate: --prompt is missing: give a text to answer, or --prompts FILE");
  apply_model_flags(flags, values.model);
  const std::vector<std::string> prompts =
      several ? read_prompts(values.prompts) : std::vector{values.prompt};
  const text::Tokenizer tokenizer = text::Tokenizer::load(values.model.model);
  const LoadedModel loaded = load_model(values.model);
  watch_signals();
  Generation generation(values, loaded.model(), tokenizer);
  generation.run(prompts);
  if (stop_requested())
    return interrupted_exit_code();
  if (values.json)
    generation.print_json(several);
  return ExitCode::done;
}

}  // namespace graft::cli
