// graft extract: a LoRA adapter out of a model that was trained as a whole.

#include "graft/peft/extract.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/adapter_folder.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/target_flags.h"
#include "graft/cli/terminal.h"
#include "graft/io/gguf_model.h"
#include "graft/io/json.h"
#include "graft/models/load.h"
#include "graft/tensor/error.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

using peft::ExtractedLayer, peft::OtherChange;

struct ExtractFlags {
  std::string base, tuned, out;
  std::optional<int64_t> rank, max_rank;
  std::optional<double> energy;
  std::string target_modules = "all-linear";
  std::string exclude_modules;
  bool save_rest = false;
  bool overwrite = false;
  bool json = false;
  ModelFlags machine;
};

/// One whose matrices stay in their file. The tensors of a GGUF file may be in few bits, which the
/// model does not show.
std::unique_ptr<nn::CausalLM> load(const std::string& flag, const std::string& path) {
  models::require_model(path);
  if (!fs::is_directory(path)) {
    const io::GgufModel model(path);
    for (const io::GgufPlace& place : model.tensors())
      GRAFT_CHECK(io::ggml_block(place.tensor->type).elements <= 1, ConfigError, "extract: --",
                  flag, " ", path, " is quantised (", place.tensor->name,
                  "), and what that lost would count as a change; give the model as it was before");
  }
  return models::load(path, {.streamed = true});
}

/// Shows on a terminal how far it has come.
std::function<void(const ExtractedLayer&)> extraction_progress() {
  if (!terminal_of(2).interactive)
    return {};
  return [](const ExtractedLayer& layer) {
    std::cerr << "\r\x1b[Kextracted " << layer.path << std::flush;
  };
}

peft::Extraction extract(const ExtractFlags& values) {
  const auto base = load("base", values.base);
  const auto tuned = load("tuned", values.tuned);
  peft::Extraction found =
      peft::extract_lora(*base, *tuned,
                         {.target_modules = targets_of(values.target_modules),
                          .exclude_modules = targets_of(values.exclude_modules),
                          .rank = values.rank,
                          .energy = values.energy,
                          .max_rank = values.max_rank,
                          .save_rest = values.save_rest,
                          .matcher = text::full_matcher(),
                          .observer = [](const std::string& warning) { warn(warning); },
                          .on_layer = extraction_progress()});
  if (terminal_of(2).interactive)
    std::cerr << "\r\x1b[K";
  return found;
}

std::string share_text(double share) {
  return fixed_text(100 * share, 2) + "%";
}

void print(const peft::Extraction& found, const ExtractFlags& values) {
  const auto relative = [](const auto& change) {
    return change.weight_norm > 0 ? share_text(change.norm / change.weight_norm) : "-";
  };
  std::vector<std::vector<std::string>> rows = {
      {"module", "change", "of the weight", "rank", "kept", "discarded"}};
  for (const ExtractedLayer& layer : found.layers)
    rows.push_back({layer.path, number_text(layer.norm), relative(layer),
                    std::to_string(layer.rank), share_text(layer.kept()),
                    share_text(1 - layer.kept())});
  for (const OtherChange& other : found.others)
    rows.push_back({other.path, number_text(other.norm), relative(other),
                    other.is_saved ? "whole" : "-", share_text(other.is_saved),
                    share_text(!other.is_saved)});
  rows.push_back({"all", number_text(found.norm()), "", "", share_text(found.kept()),
                  share_text(1 - found.kept())});
  std::cout << table(rows, terminal_of(1)) << "wrote " << values.out << ": "
            << counted(std::ssize(found.layers), "layer") << ", " << share_text(found.kept())
            << " of the energy of the change\n";
}

void print_json(const peft::Extraction& found, const ExtractFlags& values) {
  io::Json json = {
      {"out", values.out},          {"rank", found.config.r},        {"norm", found.norm()},
      {"kept", found.kept()},       {"discarded", 1 - found.kept()}, {"modules", io::Json::array()},
      {"others", io::Json::array()}};
  for (const ExtractedLayer& layer : found.layers)
    json["modules"].push_back({{"path", layer.path},
                               {"norm", layer.norm},
                               {"weight_norm", layer.weight_norm},
                               {"rank", layer.rank},
                               {"kept", layer.kept()},
                               {"discarded", 1 - layer.kept()}});
  for (const OtherChange& other : found.others)
    json["others"].push_back({{"path", other.path},
                              {"norm", other.norm},
                              {"weight_norm", other.weight_norm},
                              {"saved", other.is_saved}});
  std::cout << io::to_text(json) << "\n";
}

/// Of what differs and is not in the adapter, the largest changes by name.
std::string names_of_largest(std::vector<OtherChange> others) {
  constexpr size_t most = 8;
  std::ranges::stable_sort(others, std::greater(), &OtherChange::norm);
  std::string text;
  for (size_t i = 0; i < std::min(others.size(), most); ++i)
    text += (i == 0 ? "" : ", ") + others[i].path + " (" + number_text(others[i].norm, 3) + ")";
  return others.size() > most ? concat(text, " and ", others.size() - most, " more") : text;
}

/// What the adapter has not, though it was not said that it may be left out.
void warn_of_losses(const peft::Extraction& found, const ExtractFlags& values) {
  if (!values.save_rest && !found.others.empty())
    warn(concat(counted(std::ssize(found.others), "parameter"),
                " that differ are not in the adapter: ", names_of_largest(found.others),
                "; --save-rest keeps them"));
  constexpr double rounding = 1e-9;
  const auto is_short = [&](const ExtractedLayer& layer) {
    return layer.kept() < values.energy.value_or(0) - rounding;
  };
  const int64_t count = std::ranges::count_if(found.layers, is_short);
  if (values.max_rank && count > 0) {
    const auto least = std::ranges::min_element(found.layers, {}, &ExtractedLayer::kept);
    warn(concat("with --max-rank ", *values.max_rank, ", ", counted(count, "layer"),
                " keep less than --energy ", *values.energy, ", the least ", least->path, " (",
                share_text(least->kept()), ")"));
  }
}

void add_flags(Flags& flags, ExtractFlags& values) {
  flags.add("base", values.base, "DIR|FILE.gguf", "the model before it was trained");
  flags.add("tuned", values.tuned, "DIR|FILE.gguf", "the model that was trained as a whole");
  flags.add("rank", values.rank, "N", "of each layer", {1, 1 << 20});
  flags.add("energy", values.energy, "E",
            "in place of --rank: the share of the energy (the sum of the squares) of each layer's "
            "change to keep, by as low a rank as does",
            {.least = 0, .most = 1, .above_least = true});
  flags.add("max-rank", values.max_rank, "N", "with --energy: the highest rank of a layer",
            {1, 1 << 20});
  add_target_flags(flags, values.target_modules, values.exclude_modules);
  flags.add("save-rest", values.save_rest,
            "keep what else differs, too: norms, biases and other layers, as whole copies");
  flags.add("out", values.out, "DIR", "the folder of the new adapter");
  flags.add("overwrite", values.overwrite, "replace the adapter in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  add_threads_flag(flags, values.machine.threads);
  flags.rivals("rank", "energy");
  flags.examples({"graft extract --base MODEL --tuned TUNED --rank 32 --out my-adapter",
                  "graft extract --base MODEL --tuned TUNED --energy 0.95 --max-rank 256 --out "
                  "my-adapter"});
}

void check_flags(const Flags& flags, const ExtractFlags& values) {
  flags.require("base", "the folder of a model or a GGUF file");
  flags.require("tuned", "the folder of a model or a GGUF file");
  flags.require("out", "the folder to write");
  GRAFT_CHECK(values.rank || values.energy, ConfigError,
              "extract: give --rank or --energy, by which the size of the adapter is chosen");
  GRAFT_CHECK(values.energy || !values.max_rank, ConfigError,
              "extract: --max-rank is for --energy; with --rank leave it out");
  check_target_flags(flags, values.target_modules, values.exclude_modules);
}

}  // namespace

ExitCode run_extract(Arguments arguments) {
  ExtractFlags values;
  Flags flags("extract",
              "Makes a LoRA adapter of what training changed of a whole model: of each matrix the "
              "nearest product of the rank that is asked for, by its singular values.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  check_flags(flags, values);
  apply_machine_flags(values.machine);
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
  std::optional<peft::Extraction> found;
  write_adapter_folder({values.out, policy, {values.base, values.tuned}},
                       [&](const fs::path& folder) {
                         found = extract(values);
                         found->save(folder);
                       });
  warn_of_losses(*found, values);
  if (values.json)
    print_json(*found, values);
  else
    print(*found, values);
  return ExitCode::done;
}

}  // namespace graft::cli
