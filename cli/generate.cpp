// graft generate: answers a prompt, or every prompt of a file.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/answer.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/template_flags.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/prompt_file.h"

namespace graft::cli {
namespace {

struct GenerateFlags {
  ModelFlags model;
  AnswerFlags answer;
  std::optional<std::string> prompt, system;
  std::string prompts;
  bool raw = false;
  TemplateFlags chat_template;
  int64_t batch_size = 8;
  bool json = false;
};

void add_flags(Flags& flags, GenerateFlags& values) {
  add_model_flags(flags, values.model);
  flags.group("Prompt");
  flags.add("prompt", values.prompt, "TEXT", "what to answer; with --raw: what to continue");
  flags.add("prompts", values.prompts, "FILE",
            "one prompt a line, or a .jsonl or .json file of records with prompt, messages, "
            "question or the like");
  flags.add("system", values.system, "TEXT", "the system's turn before the prompt");
  flags.add("raw", values.raw, "continue the text as it is, without the chat template");
  add_template_flags(flags, values.chat_template, true);
  flags.add("batch-size", values.batch_size, "N", "prompts answered at the same time", {1, 4096});
  add_answer_flags(flags, values.answer);
  flags.group("Result");
  flags.add("json", values.json,
            "print one JSON object: text, token_ids, prompt_tokens, stop_reason, "
            "prompt_tokens_per_second, tokens_per_second");
  flags.config_file();
  flags.rivals("prompt", "prompts");
  flags.not_a_setting("json");
  flags.examples({"graft generate --model MODEL --adapter my-adapter --prompt \"Who are you?\"",
                  "graft generate --model MODEL --prompts questions.txt --json"});
}

void check_flags(Flags& flags, const GenerateFlags& values) {
  GRAFT_CHECK(values.prompt || flags.given("prompts"), ConfigError,
              "generate: --prompt is missing: give a text to answer, or --prompts FILE");
  if (values.raw)
    flags.set_aside("system", "raw",
                    "is a turn of the chat template, and --raw goes without it; leave one out");
  check_answer_flags(flags, values.answer);
}

/// All prompts, so that a bad one is known before anything is answered.
std::vector<text::Prompt> read(const GenerateFlags& values, const text::Prompter& prompter) {
  const int64_t positions = models::describe(values.model.model).info.max_positions;
  if (!values.prompt)
    return text::read_prompts(values.prompts, prompter, {.positions = positions}).prompts;
  text::Prompt prompt = prompter.from_text(*values.prompt);
  text::check_prompt(prompt.ids, positions);
  return {std::move(prompt)};
}

/// Answers all prompts, some at a time. One answer is shown while it grows; of several, each is
/// written as soon as it is finished, so that whatever ends the command leaves those before.
class Generation {
 public:
  /// Refers to everything it is given.
  Generation(const GenerateFlags& values, const nn::CausalLM& model,
             const text::Tokenizer& tokenizer, bool goes_on,
             const std::vector<text::Prompt>& prompts)
      : values_(values),
        model_(model),
        tokenizer_(tokenizer),
        goes_on_(goes_on),
        prompts_(prompts) {}

  void run() {
    if (values_.json && !values_.prompt)
      std::cout << "{\"results\": [";
    try {
      const auto batch = static_cast<size_t>(values_.batch_size);
      for (size_t first = 0; first < prompts_.size() && !stop_requested(); first += batch)
        answer_batch(first, std::min(first + batch, prompts_.size()));
    } catch (...) {
      end_results();  // what is finished can be read
      throw;
    }
    end_results();
  }

 private:
  void answer_batch(size_t first, size_t last) {
    Prompts batch{.ids = {}, .goes_on = goes_on_, .first_row = static_cast<int64_t>(first)};
    for (size_t i = first; i < last; ++i)
      batch.ids.push_back(prompts_[i].ids);
    const auto show = [&](size_t, const std::string& piece) {
      if (streams())
        std::cout << (terminal_.interactive ? shown(piece) : piece) << std::flush;
    };
    const Answers result = answer(model_, tokenizer_, batch, values_.answer, {}, show);
    times_ += result.times;
    for (size_t i = first; i < last; ++i) {
      const Answer& one = result.answers[i - first];
      if (values_.json)
        print_json(prompts_[i], one);
      else
        print_text(prompts_[i], one);
    }
  }

  bool streams() const { return values_.prompt && !values_.json; }

  void print_text(const text::Prompt& prompt, const Answer& answer) const {
    if (streams())
      std::cout << std::endl;
    else
      std::cout << terminal_.bold("> " + shown(prompt.asked)) << "\n"
                << shown(answer.text) << "\n"
                << std::endl;
    // For a person who watches; a program reads stop_reason.
    const Terminal log = terminal_of(2);
    if (answer.reason == models::StopReason::length && log.interactive)
      std::cerr << log.dim((streams() ? "the answer was "
                                      : concat("the answer to line ", prompt.line, " was ")) +
                           cut_text(answer, values_.answer, model_.info().max_positions))
                << std::endl;
  }

  void print_json(const text::Prompt& prompt, const Answer& answer) {
    io::Json json;
    if (!values_.prompt)
      json["prompt"] = prompt.asked;
    json["text"] = answer.text;
    json["token_ids"] = answer.ids;
    json["prompt_tokens"] = prompt.ids.size();
    json["stop_reason"] = name(answer.reason);
    if (values_.prompt)
      add_times(json);
    std::cout << (values_.prompt ? ""
                  : any_results_ ? ",\n"
                                 : "\n")
              << io::to_text(json, -1) << (values_.prompt ? "\n" : "") << std::flush;
    any_results_ = true;
  }

  void end_results() const {
    if (!values_.json || values_.prompt)
      return;
    io::Json json;
    add_times(json);
    const std::string members = io::to_text(json, -1);
    std::cout << "\n], " << members.substr(1) << std::endl;
  }

  void add_times(io::Json& json) const {
    json["prompt_tokens_per_second"] = times_.prompt_tokens_per_second();
    json["tokens_per_second"] = times_.tokens_per_second();
  }

  const GenerateFlags& values_;
  const nn::CausalLM& model_;
  const text::Tokenizer& tokenizer_;
  const bool goes_on_;
  const std::vector<text::Prompt>& prompts_;
  const Terminal terminal_ = terminal_of(1);
  bool any_results_ = false;
  AnswerTimes times_;
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
  check_flags(flags, values);
  apply_model_flags(flags, values.model);
  text::Tokenizer tokenizer = text::Tokenizer::load(values.model.model);
  choose_template(values.chat_template, tokenizer);
  const text::Prompter prompter(tokenizer,
                                {.raw = values.raw,
                                 .template_variables = template_variables(values.chat_template),
                                 .system = values.raw ? std::nullopt : values.system});
  const std::vector<text::Prompt> prompts = read(values, prompter);
  const LoadedModel loaded = load_model(values.model);
  if (!values.raw && !prompter.uses_template())
    std::cerr << "the model has no chat template: the text is continued as it is (--raw)\n";
  std::vector<std::vector<int64_t>> ids;
  for (const text::Prompt& prompt : prompts)
    ids.push_back(prompt.ids);
  note_uninvoked(loaded.model(), ids);
  watch_signals();
  Generation(values, loaded.model(), tokenizer, !prompter.uses_template(), prompts).run();
  return stop_requested() ? interrupted_exit_code() : ExitCode::done;
}

}  // namespace graft::cli
