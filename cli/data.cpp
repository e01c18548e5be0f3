// graft data: what training would make of a data set, before anything is trained.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/data_check.h"
#include "graft/cli/data_preview.h"
#include "graft/cli/data_stats.h"
#include "graft/cli/data_verb.h"
#include "graft/cli/flags.h"
#include "graft/cli/terminal.h"
#include "graft/models/load.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

void add_flags(Flags& flags, DataVerbFlags& values) {
  flags.positional(
      "ACTION", values.action,
      "preview: samples as tokens, and which are learnt; stats: lengths, what is cut or "
      "dropped, steps; check: every fault of the files");
  flags.group("Model");
  flags.add("model", values.model, "DIR|FILE.gguf",
            "whose tokenizer and chat template are used; no weights are read");
  add_data_flags(flags, values.data);
  flags.group("Preview");
  flags.add("count", values.count, "N", "samples to show", {1, 1 << 20});
  flags.add("line", values.line, "N", "begin with the first sample from this line of the file on",
            {1, int64_t{1} << 40});
  flags.add("tokens", values.tokens, "put a | between tokens");
  flags.group("Steps");
  flags.add("packing", values.packing, "put samples behind each other in rows of --max-seq-len");
  flags.add("batch-size", values.batch_size, "N", "samples (with --packing: rows) of a batch",
            {1, 1 << 20});
  flags.add("grad-accum", values.grad_accum, "N", "such batches before each update", {1, 1 << 20});
  flags.add("epochs", values.epochs, "E", "passes over the data", {0, 1e6});
  flags.group("Result");
  flags.add("json", values.json, "print one JSON object");
  flags.config_file();
  flags.not_a_setting("json");
  flags.examples({"graft data preview --model MODEL --data train.jsonl",
                  "graft data stats --model MODEL --data train.jsonl --max-seq-len 1024 --packing",
                  "graft data check --model MODEL --data my-folder"});
}

/// Ids that a model has: those of the config where there is one, else the tokenizer's.
int64_t vocabulary_of(const fs::path& model) {
  const bool is_model = !fs::is_directory(model) || fs::exists(model / "config.json");
  try {
    return is_model ? models::describe(model).info.vocab_size : 0;
  } catch (const Error&) {
    return 0;  // a tokenizer of a model that graft does not train
  }
}

/// The files of a folder, or the one file.
std::vector<fs::path> files_of(const fs::path& path) {
  if (!fs::is_directory(path))
    return {path};
  std::vector<fs::path> files;
  for (const text::DataPart part :
       {text::DataPart::train, text::DataPart::valid, text::DataPart::test})
    if (const auto file = text::find_data_file(path, part))
      files.push_back(*file);
  GRAFT_CHECK(!files.empty(), ConfigError, "data: ", path.string(),
              " has neither a train nor a valid nor a test file (.jsonl, .json or .txt); ",
              text::data_files_text(path));
  return files;
}

}  // namespace

ExitCode run_data(Arguments arguments) {
  DataVerbFlags values;
  Flags flags(
      "data",
      "Shows what training makes of a data set: its samples with the tokens that are learnt, "
      "their lengths, and every fault. Nothing is trained.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("ACTION", "preview, stats or check");
  const std::vector<std::string> actions = {"preview", "stats", "check"};
  GRAFT_CHECK(std::ranges::find(actions, values.action) != actions.end(), ConfigError,
              "data: there is no '", shown(values.action), "'",
              did_you_mean(values.action, actions), "; preview, stats or check expected");
  flags.require("model", "the model whose tokenizer reads the data");
  flags.require("data", "the data, e.g. a .jsonl file");
  const std::optional<text::Tokenizer> tokenizer =
      load_tokenizer(values.model, values.data.chat_template);
  const DataVerb verb{.values = values,
                      .tokenizer = tokenizer ? &*tokenizer : nullptr,
                      .vocab_size = vocabulary_of(values.model),
                      .files = files_of(values.data.path)};
  if (values.action == "preview")
    return preview_data(verb);
  return values.action == "stats" ? data_stats(verb) : check_data(verb);
}

}  // namespace graft::cli
