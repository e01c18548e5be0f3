// graft inspect: what a model, adapter, data set, checkpoint or safetensors file holds.

#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/inspection.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/data_folder.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

bool is_pickle_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt";
}

Inspection inspect(const fs::path& path, const std::string& model) {
  GRAFT_CHECK(fs::exists(path), IoError, "inspect: there is no ", path.string());
  if (fs::is_directory(path)) {
    if (fs::exists(path / "manifest.json"))
      return inspect_checkpoint(path);
    if (fs::exists(path / "adapter_config.json"))
      return inspect_adapter(path);
    if (fs::exists(path / "config.json"))
      return inspect_model(path);
    if (text::find_data_file(path, text::DataPart::train))
      return inspect_data(path, model);
    throw ConfigError(
        concat("inspect: ", path.string(),
               " is no model (config.json), adapter (adapter_config.json), "
               "checkpoint (manifest.json) or data folder (train.jsonl, .json or .txt)"));
  }
  GRAFT_CHECK(!is_pickle_name(path), ConfigError, "inspect: ", path.string(),
              " looks like a pickle, which can run code when it is opened and is never read; save "
              "it as safetensors in Python");
  if (path.extension() == ".gguf")
    return inspect_model(path);
  if (path.extension() == ".safetensors")
    return inspect_tensors(path);
  if (path.extension() == ".jsonl" || path.extension() == ".json" || path.extension() == ".txt")
    return inspect_data(path, model);
  throw ConfigError(concat("inspect: ", path.string(), " is of no kind known by its name: .gguf, ",
                           ".safetensors, .jsonl, .json, .txt, or a folder"));
}

}  // namespace

ExitCode run_inspect(Arguments arguments) {
  std::string path, model;
  bool as_json = false;
  Flags flags("inspect",
              "Says what a model, adapter, data set, checkpoint or safetensors file holds, and "
              "checks it on the way. No model is run.");
  flags.positional("PATH", path, "a folder, or a .gguf, .safetensors, .jsonl, .json or .txt file");
  flags.add("model", model, "DIR|FILE.gguf", "count the tokens of a data set with its tokenizer");
  flags.add("json", as_json, "print one JSON object");
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("PATH", "what to inspect");
  const Inspection inspection = inspect(path, model);
  GRAFT_CHECK(model.empty() || inspection.kind == "data set", ConfigError,
              "inspect: --model counts the tokens of a data set, but ", path, " is of the kind '",
              inspection.kind, "'; leave it out");
  if (as_json) {
    io::Json json;
    json["kind"] = inspection.kind;
    json["path"] = path;
    json.update(*inspection.json);
    std::cout << io::to_text(json) << "\n";
    return ExitCode::done;
  }
  Panel panel(inspection.kind + " " + shown(path));
  for (const auto& [name, value] : inspection.rows)
    panel.row(name, shown(value));
  std::cout << panel.text(terminal_of(1));
  return ExitCode::done;
}

}  // namespace graft::cli
