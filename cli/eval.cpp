// graft eval: the loss of a model on a data set, with its adapter and without.

#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/tensor/error.h"
#include "graft/train/evaluate.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

struct EvalFlags {
  ModelFlags model;
  DataFlags data;
  int64_t batch_size = 4;
  bool compare_base = false;
  bool json = false;
};

void add_flags(Flags& flags, EvalFlags& values) {
  add_model_flags(flags, values.model);
  add_data_flags(flags, values.data);
  flags.add("batch-size", values.batch_size, "N", "samples of one forward; the result is the same",
            {1, 1 << 20});
  flags.group("Result");
  flags.add("compare-base", values.compare_base, "also evaluate without the adapter");
  flags.add("json", values.json, "print one JSON object: loss, perplexity, tokens");
  flags.config_file();
  flags.not_a_setting("json");
  flags.examples(
      {"graft eval --model MODEL --adapter my-adapter --data valid.jsonl "
       "--compare-base"});
}

/// Nothing where a signal came meanwhile.
std::optional<train::Evaluation> evaluate(const nn::CausalLM& model, const text::SampleFile& data,
                                          const EvalFlags& values) {
  const bool interactive = terminal_of(2).interactive;
  train::EvaluateOptions options;
  options.batch_size = values.batch_size;
  options.progress = [&](int64_t done, int64_t total) {
    if (interactive)
      std::cerr << "\r\x1b[K" << grouped(done) << " of " << counted(total, "sample") << std::flush;
    return !stop_requested();
  };
  const auto result = train::evaluate(model, data, options);
  if (interactive)
    std::cerr << "\r\x1b[K" << std::flush;
  return result;
}

io::Json to_json(const train::Evaluation& evaluation) {
  return {{"loss", evaluation.loss},
          {"perplexity", evaluation.perplexity},
          {"tokens", evaluation.tokens},
          {"samples", evaluation.samples}};
}

std::string to_row(const train::Evaluation& evaluation) {
  return "loss " + fixed_text(evaluation.loss, 4) + ", perplexity " +
         number_text(evaluation.perplexity);
}

void print(const EvalFlags& values, const text::SampleFile& data, const train::Evaluation& result,
           const std::optional<train::Evaluation>& base) {
  if (values.json) {
    io::Json json = to_json(result);
    if (base)
      json["base"] = to_json(*base);
    std::cout << io::to_text(json) << "\n";
    return;
  }
  Panel panel("graft eval " + data.path().string());
  panel.row("data", concat(text::name_of(data.format()), ", loss on ",
                           text::name_of(data.loss_on()), "; ") +
                        counted(result.samples, "sample") + ", " + counted(result.tokens, "token") +
                        " with a loss" + losses_text(data.stats(), values.data.max_seq_len));
  panel.row(values.model.adapters.empty() ? "model" : adapter_label(values.model), to_row(result));
  if (base) {
    panel.row("base", to_row(*base));
    panel.row("difference", fixed_text(result.loss - base->loss, 4));
  }
  std::cout << panel.text(terminal_of(1));
}

}  // namespace

ExitCode run_eval(Arguments arguments) {
  EvalFlags values;
  Flags flags("eval",
              "The mean loss and the perplexity of a model on a data set, over the tokens that "
              "training would learn.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("data", "a data file, or a folder with a valid or test file");
  GRAFT_CHECK(!values.compare_base || !values.model.adapters.empty(), ConfigError,
              "eval: --compare-base compares an adapter with its base; give --adapter");
  apply_model_flags(flags, values.model);
  const std::optional<text::Tokenizer> tokenizer =
      load_tokenizer(values.model.model, values.data.chat_template);
  const LoadedModel loaded = load_model(values.model);
  const fs::path path = values.data.path;
  const bool only_test = !text::find_data_file(path, text::DataPart::valid) &&
                         text::find_data_file(path, text::DataPart::test);
  const std::unique_ptr<const text::SampleFile> data =
      read_samples(values.data, tokenizer ? &*tokenizer : nullptr, loaded.base->info().vocab_size,
                   only_test ? text::DataPart::test : text::DataPart::valid);
  const int64_t positions = loaded.base->info().max_positions;
  warn_of_long_inputs(values.data.path, lengths_of(*data), positions,
                      concat("--max-seq-len ", positions, " cuts them"));
  watch_signals();
  const auto result = evaluate(loaded.model(), *data, values);
  std::optional<train::Evaluation> base;
  if (result && values.compare_base) {
    const auto disabled = loaded.adapted->disable_adapter();
    base = evaluate(loaded.model(), *data, values);
  }
  if (!result || (values.compare_base && !base))
    return interrupted_exit_code();
  print(values, *data, *result, base);
  return ExitCode::done;
}

}  // namespace graft::cli
