// graft diff: what two adapters change, beside each other, or one by itself.

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/terminal.h"
#include "graft/io/json.h"
#include "graft/models/load.h"
#include "graft/peft/adapter_diff.h"
#include "graft/peft/adapter_file.h"
#include "graft/tensor/error.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

using peft::ChangeSize, peft::LayerDiff;

struct DiffFlags {
  std::vector<std::string> adapters;
  ModelFlags model;
  bool json = false;
};

/// Reads an adapter, and says which of its parts are not compared.
peft::AdapterFiles read(const std::string& folder) {
  peft::AdapterFiles adapter = peft::read_adapter_files(folder);
  std::vector<std::string> left_out;
  for (const std::string& key : adapter.others)
    if (!adapter.config.use_dora || key.find("lora_magnitude_vector") == std::string::npos)
      left_out.push_back(key);
  for (const auto& [path, layer] : adapter.layers)
    if (layer.bias.defined())
      left_out.push_back(peft::adapter_key(path, "lora_B.bias"));
  if (!left_out.empty())
    warn(concat(folder, " also has ", counted(std::ssize(left_out), "tensor"),
                " that are no low-rank matrices, such as ", left_out[0],
                "; they are not compared"));
  return adapter;
}

peft::AdapterDiff diff_on_model(const DiffFlags& values) {
  const auto base = models::load(values.model.model, {.streamed = true});
  std::vector<std::string> names = {"A"};
  const auto model = load_adapters(*base, {{.name = names[0], .folder = values.adapters[0]}});
  if (values.adapters.size() == 2)
    model->load_adapter(values.adapters[1], names.emplace_back("B"));
  return peft::diff_adapters(*base, names);
}

peft::AdapterDiff diff(const DiffFlags& values) {
  const peft::AdapterFiles a = read(values.adapters[0]);
  std::optional<peft::AdapterFiles> b;
  if (values.adapters.size() == 2)
    b = read(values.adapters[1]);
  if (!values.model.model.empty())
    return diff_on_model(values);
  return peft::diff_adapters(a, b ? &*b : nullptr, text::full_matcher());
}

std::string text_of(const std::optional<double>& value, int digits) {
  return value ? number_text(*value, digits) : "-";
}

std::optional<double> norm_of(const std::optional<ChangeSize>& change) {
  return change ? std::optional(change->norm) : std::nullopt;
}

/// "5.3 of 8".
std::string rank_text(const std::optional<ChangeSize>& change) {
  if (!change || change->rank == 0)
    return "";
  return fixed_text(change->effective_rank, 1) + " of " + std::to_string(change->rank);
}

std::vector<std::string> row_of(const LayerDiff& layer, const std::string& name, bool of_two) {
  std::vector<std::string> row = {name, text_of(norm_of(layer.a), 4), rank_text(layer.a)};
  if (of_two) {
    row.insert(row.end(), {text_of(norm_of(layer.b), 4), rank_text(layer.b),
                           number_text(layer.difference, 4)});
    row.push_back(layer.cosine() ? fixed_text(*layer.cosine(), 4) : "-");
  }
  return row;
}

void print(const peft::AdapterDiff& diff, const std::vector<std::string>& adapters) {
  const bool of_two = adapters.size() == 2;
  std::vector<std::vector<std::string>> rows = {{"module", "norm", "eff. rank"}};
  if (of_two)
    rows = {{"module", "norm A", "eff. rank A", "norm B", "eff. rank B", "norm A-B", "cosine"}};
  for (const LayerDiff& layer : diff.layers)
    rows.push_back(row_of(layer, layer.path, of_two));
  rows.push_back(row_of(diff.total, "all", of_two));
  if (of_two)
    std::cout << "A: " << adapters[0] << "\nB: " << adapters[1] << "\n";
  std::cout << table(rows, terminal_of(1));
}

io::Json json_of(const std::optional<ChangeSize>& change) {
  if (!change)
    return nullptr;
  io::Json json = {{"norm", change->norm}};
  if (change->rank > 0) {
    json["rank"] = change->rank;
    json["effective_rank"] = change->effective_rank;
  }
  return json;
}

io::Json json_of(const LayerDiff& layer, bool of_two) {
  io::Json json = {{"a", json_of(layer.a)}};
  if (of_two) {
    json["b"] = json_of(layer.b);
    json["difference"] = layer.difference;
    json["cosine"] = layer.cosine() ? io::Json(*layer.cosine()) : io::Json(nullptr);
  }
  return json;
}

void print_json(const peft::AdapterDiff& diff, const std::vector<std::string>& adapters) {
  const bool of_two = adapters.size() == 2;
  io::Json json = {{"adapters", adapters}, {"modules", io::Json::array()}};
  for (const LayerDiff& layer : diff.layers) {
    io::Json module = {{"path", layer.path}};
    module.update(json_of(layer, of_two));
    json["modules"].push_back(std::move(module));
  }
  json["all"] = json_of(diff.total, of_two);
  std::cout << io::to_text(json) << "\n";
}

}  // namespace

ExitCode run_diff(Arguments arguments) {
  DiffFlags values;
  Flags flags("diff",
              "Compares what two adapters change: for each module the norm of its change, how many "
              "directions that spreads over (the effective rank: e to the entropy of its singular "
              "values), the norm of the difference and the cosine between the changes, which do "
              "not depend on how they are split into A and B. Of one adapter alone, its own.");
  flags.positionals("ADAPTER", values.adapters, "ADAPTER [ADAPTER]",
                    "the folders of one or two adapters");
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the model they are for; only needed where what they change depends on it (use_dora, "
            "pissa, olora, ensure_weight_tying)");
  flags.add("json", values.json, "print the result as one JSON object");
  add_threads_flag(flags, values.model.threads);
  flags.examples(
      {"graft diff my-adapter another-adapter", "graft diff a-dora another-dora --model MODEL"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("ADAPTER", "the folders of one or two adapters");
  GRAFT_CHECK(values.adapters.size() <= 2, ConfigError, "diff: ", values.adapters.size(),
              " adapters are given, one or two expected");
  apply_machine_flags(values.model);
  const peft::AdapterDiff found = diff(values);
  if (values.json)
    print_json(found, values.adapters);
  else
    print(found, values.adapters);
  return ExitCode::done;
}

}  // namespace graft::cli
