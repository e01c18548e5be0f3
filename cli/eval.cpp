// graft eval: measures a model on a data set, with its adapter and without.

#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/choice_metric.h"
#include "graft/cli/commands.h"
#include "graft/cli/eval_flags.h"
#include "graft/cli/eval_samples.h"
#include "graft/cli/exact_match_metric.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/loss_metric.h"
#include "graft/cli/terminal.h"
#include "graft/io/file.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

void print(const EvalFlags& values, const fs::path& file, const Metric& metric) {
  if (values.json) {
    io::Json json = {{"metric", values.metric}};
    json.update(metric.json(0));
    if (values.compare_base)
      json["base"] = metric.json(1);
    if (values.per_record) {
      json["records"] = io::Json::array();
      for (int64_t i = 0; i < metric.records(); ++i)
        json["records"].push_back(metric.record(i));
    }
    std::cout << io::to_text(json) << "\n";
    return;
  }
  Panel panel("graft eval " + file.string());
  for (auto& [name, value] : metric.heading())
    panel.row(std::move(name), std::move(value));
  panel.row(values.model.adapters.empty() ? "model" : adapter_label(values.model), metric.text(0));
  if (values.compare_base) {
    panel.row("base", metric.text(1));
    panel.row("difference", metric.difference());
  }
  if (!values.out.empty())
    panel.row("records", values.out);
  std::cout << panel.text(terminal_of(1));
}

std::unique_ptr<Metric> make_metric(const EvalFlags& values, const fs::path& file,
                                    const text::Tokenizer* tokenizer) {
  const nn::ModelInfo info = models::describe(values.model.model).info;
  if (values.metric == "loss")
    return std::make_unique<LossMetric>(values, file, tokenizer, info);
  GRAFT_CHECK(tokenizer != nullptr, ConfigError, "eval: --metric ", values.metric,
              " needs a tokenizer, but the model comes without one");
  if (values.metric == "exact-match")
    return std::make_unique<ExactMatchMetric>(values, file, *tokenizer, info);
  return std::make_unique<ChoiceMetric>(values, file, *tokenizer, info);
}

/// A line for each record.
void write_records(const fs::path& out, const Metric& metric) {
  io::write_file_atomically(out, [&](io::FileWriter& file) {
    for (int64_t i = 0; i < metric.records(); ++i)
      file.write(io::to_text(metric.record(i), -1) + "\n");
  });
}

/// With the adapter, and where wanted without. False where a signal came meanwhile.
bool measure(const EvalFlags& values, const LoadedModel& loaded, Metric& metric) {
  if (!metric.measure(loaded.model()))
    return false;
  if (!values.compare_base)
    return true;
  const auto disabled = loaded.adapted->disable_adapter();
  return metric.measure(loaded.model());
}

}  // namespace

ExitCode run_eval(Arguments arguments) {
  EvalFlags values;
  Flags flags("eval",
              "Measures a model on a data set, with its adapter and without: mean loss and "
              "perplexity, answers that are the expected ones, or multiple choice.");
  add_eval_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  check_eval_flags(flags, values);
  apply_model_flags(flags, values.model);
  const std::optional<text::Tokenizer> tokenizer =
      load_tokenizer(values.model.model, values.data.chat_template);
  const fs::path file = eval_file(values.data.path);
  const std::unique_ptr<Metric> metric =
      make_metric(values, file, tokenizer ? &*tokenizer : nullptr);
  const LoadedModel loaded = load_model(values.model);
  watch_signals();
  if (!measure(values, loaded, *metric))
    return interrupted_exit_code();
  if (!values.out.empty())
    write_records(values.out, *metric);
  print(values, file, *metric);
  return ExitCode::done;
}

}  // namespace graft::cli
