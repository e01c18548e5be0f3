#include "graft/cli/eval_flags.h"

#include <array>
#include <utility>

#include "graft/cli/run_folder.h"
#include "graft/tensor/error.h"

namespace graft::cli {

namespace {

constexpr const char* loss = "loss";
constexpr const char* exact_match = "exact-match";
constexpr const char* multiple_choice = "multiple-choice";

/// Flags that mean something to one metric only.
constexpr std::array<std::pair<const char*, const char*>, 10> metric_of_flag = {{
    {"loss-on", loss},
    {"max-seq-len", loss},
    {"overlong", loss},
    {"max-new-tokens", exact_match},
    {"stop", exact_match},
    {"answer-pattern", exact_match},
    {"ignore-pattern", exact_match},
    {"ignore-case", exact_match},
    {"ignore-punctuation", exact_match},
    {"target-delimiter", multiple_choice},
}};

void add_metric_flags(Flags& flags, EvalFlags& values) {
  flags.group("Metric");
  flags.choice("metric", values.metric, {loss, exact_match, multiple_choice},
               "the loss of what training would learn; the share of answers that are the expected "
               "one; the share of questions whose right choice is the likeliest");
  flags.group("Metric exact-match");
  add_ending_flags(flags, values.answer);
  flags.add("answer-pattern", values.match.answer_pattern, "REGEX",
            "compare only what this finds first in either text: its first group, or all of it");
  flags.add("ignore-pattern", values.match.ignored_patterns, "REGEX",
            "compare without what this finds; may be repeated");
  flags.add("ignore-case", values.match.ignore_case, "compare in lower case");
  flags.add("ignore-punctuation", values.match.ignore_punctuation,
            "compare without ASCII punctuation");
  flags.group("Metric multiple-choice");
  flags.add("target-delimiter", values.target_delimiter, "TEXT",
            "between question and choice; default: a space, nothing behind a chat template");
}

}  // namespace

void add_eval_flags(Flags& flags, EvalFlags& values) {
  add_model_flags(flags, values.model);
  add_data_flags(flags, values.data);
  flags.add("limit", values.limit, "N", "only the first N records (for the loss: samples)",
            {1, int64_t{1} << 40});
  flags.add("batch-size", values.batch_size, "N",
            "samples, prompts or choices of one forward; the result is the same", {1, 1 << 20});
  add_metric_flags(flags, values);
  flags.group("Result");
  flags.add("compare-base", values.compare_base, "also evaluate without the adapter");
  flags.add("out", values.out, "FILE.jsonl",
            "a line for each record: the loss of every token, the answer and the expected one, or "
            "the likelihood of every choice; an older file is replaced");
  flags.add("json", values.json, "print one JSON object with the result");
  flags.add("per-record", values.per_record, "with --json also 'records', the lines of --out");
  flags.config_file();
  flags.not_a_setting("json");
  flags.examples({"graft eval --model MODEL --adapter my-adapter --data valid.jsonl --compare-base",
                  "graft eval --model MODEL --data test.jsonl --metric exact-match "
                  "--answer-pattern '#### (-?[0-9.,]+)'",
                  "graft eval --model MODEL --data arc.jsonl --metric multiple-choice --raw"});
}

void check_eval_flags(Flags& flags, const EvalFlags& values) {
  flags.require("data", "a data file, or a folder with a valid or test file");
  GRAFT_CHECK(!values.compare_base || !values.model.adapters.empty(), ConfigError,
              "eval: --compare-base compares an adapter with its base; give --adapter");
  for (const auto& [flag, metric] : metric_of_flag)
    if (values.metric != metric)
      flags.set_aside(flag, "metric",
                      concat("is for --metric ", metric, ", and this is --metric ", values.metric,
                             "; leave it out"));
  if (!values.json)
    flags.set_aside("per-record", "json",
                    "adds to the object of --json: give --json, or --out FILE for a file");
  if (!values.out.empty()) {
    std::vector<std::filesystem::path> inputs = {values.model.model, values.data.path};
    if (const std::optional<AdapterName> adapter = adapter_of(values.model))
      inputs.push_back(adapter->folder);
    check_out_file(values.out, inputs);
  }
}

}  // namespace graft::cli
