// graft combine: makes one adapter of several.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/adapter_folder.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/terminal.h"
#include "graft/io/json.h"
#include "graft/peft/adapter_file.h"
#include "graft/peft/combine_files.h"
#include "graft/tensor/error.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

struct CombineFlags {
  ModelFlags model;
  std::string method = "svd";
  std::optional<double> density, clamp;
  std::optional<int64_t> rank;
  std::string majority_sign = "total";
  std::string compat = "none";
  int64_t seed = 0;
  std::string out;
  bool overwrite = false;
  bool json = false;
};

peft::CombineOptions options_of(const CombineFlags& values) {
  return {.combination_type = peft::parse_combination(values.method),
          .svd_rank = values.rank,
          .svd_clamp = values.clamp,
          .density = values.density,
          .majority_sign_method = peft::parse_majority_sign(values.majority_sign),
          .seed = static_cast<uint64_t>(values.seed),
          .compat = values.compat == "peft" ? peft::Compat::peft : peft::Compat::none};
}

/// The model is needed for what is not low-rank: it is loaded, and the result saved from it.
peft::CombineReport combine_on_model(const CombineFlags& values,
                                     const std::vector<AdapterName>& adapters,
                                     const peft::CombineOptions& options, const fs::path& out) {
  constexpr const char* result = "combined";
  const auto base = load_base(values.model);
  std::vector<AdapterName> unscaled = adapters;
  std::vector<std::string> names;
  std::vector<double> weights;
  for (AdapterName& adapter : unscaled) {
    names.push_back(adapter.name);
    weights.push_back(std::exchange(adapter.scale, 1));
  }
  const auto model = load_adapters(*base, {unscaled[0]});
  for (size_t i = 1; i < unscaled.size(); ++i)
    model->load_adapter(unscaled[i].folder, unscaled[i].name);
  const peft::CombineReport report = model->add_weighted_adapter(names, weights, result, options);
  model->save_pretrained(out, {result});
  for (const std::string_view name : {peft::adapter_config_name, peft::adapter_model_name})
    fs::rename(out / result / name, out / name);
  fs::remove(out / result);
  return report;
}

peft::CombineReport combine_files(const std::vector<AdapterName>& adapters,
                                  const peft::CombineOptions& options, const fs::path& out) {
  std::vector<peft::WeightedFolder> folders;
  for (const AdapterName& adapter : adapters)
    folders.push_back({adapter.name, adapter.folder, adapter.scale});
  const peft::CombinedFiles combined = peft::combine_files(folders, options, text::full_matcher());
  combined.save(out);
  return combined.report;
}

double share_of(const peft::CombineReport::Layer& layer) {
  return layer.energy > 0 ? layer.discarded / layer.energy : 0;
}

void print(const CombineFlags& values, const std::vector<AdapterName>& adapters,
           const peft::CombineReport& report) {
  if (values.json) {
    io::Json json = {{"out", values.out},
                     {"method", values.method},
                     {"rank", report.rank},
                     {"discarded", report.discarded_share()},
                     {"layers", io::Json::array()}};
    for (const peft::CombineReport::Layer& layer : report.layers)
      json["layers"].push_back(
          {{"path", layer.path}, {"energy", layer.energy}, {"discarded", share_of(layer)}});
    std::cout << io::to_text(json) << "\n";
    return;
  }
  std::cout << "wrote " << values.out << ": " << counted(std::ssize(adapters), "adapter")
            << " combined by " << values.method << ", rank " << report.rank << ", "
            << counted(std::ssize(report.layers), "layer") << "\n";
  const double discarded = report.discarded_share();
  if (discarded <= 1e-9)
    return;
  const auto worst = std::ranges::max_element(report.layers, {}, share_of);
  std::cout << "rank " << report.rank << " leaves out " << number_text(100 * discarded, 3)
            << "% of the energy, most at " << worst->path << " ("
            << number_text(100 * share_of(*worst), 3) << "%)\n";
}

void combine(const CombineFlags& values) {
  const std::vector<AdapterName> adapters = adapters_of(values.model);
  const peft::CombineOptions options = options_of(values);
  peft::validate(options);
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
  std::vector<fs::path> inputs;
  if (!values.model.model.empty())
    inputs.push_back(values.model.model);
  for (const AdapterName& adapter : adapters)
    inputs.push_back(adapter.folder);
  peft::CombineReport report;
  write_adapter_folder({values.out, policy, inputs}, [&](const fs::path& folder) {
    report = values.model.model.empty() ? combine_files(adapters, options, folder)
                                        : combine_on_model(values, adapters, options, folder);
  });
  print(values, adapters, report);
}

void add_flags(Flags& flags, CombineFlags& values) {
  flags.add("adapter", values.model.adapters, "[NAME=]DIR[@WEIGHT]",
            "an adapter and its weight, 1 where none is given; repeated for each");
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the model they are for; only needed where they bring more than low-rank matrices "
            "(modules_to_save, bias, trained tokens, use_dora, pissa, olora, ensure_weight_tying)");
  flags.add("method", values.method, "NAME",
            "linear, cat, svd, ties, dare_linear, dare_ties, magnitude_prune, or one of the last "
            "four with _svd behind it, which is the same without --compat");
  flags.add("density", values.density, "R",
            "share of the numbers that ties, dare and magnitude_prune leave",
            {.least = 0, .most = 1, .above_least = true});
  flags.add("rank", values.rank, "N", "of the result; default: the largest of the adapters",
            {1, 1 << 20});
  flags.add("majority-sign", values.majority_sign, "total|frequency",
            "how ties elects signs: by sums or by numbers");
  flags.add("clamp", values.clamp, "Q", "clip the factors at this quantile of their magnitudes",
            {.least = 0, .most = 1, .above_least = true});
  flags.add("seed", values.seed, "N", "of what dare leaves out", {0, int64_t{1} << 53});
  flags.choice("compat", values.compat, {"none", "peft"},
               "peft: PEFT's formulas, which combine A and B each by itself");
  flags.add("out", values.out, "DIR", "the folder of the new adapter");
  flags.add("overwrite", values.overwrite, "replace the adapter in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object, with what each layer loses");
  add_threads_flag(flags, values.model.threads);
  flags.examples({"graft combine --adapter a@0.7 --adapter b@0.3 --out both",
                  "graft combine --adapter a --adapter b --method ties --density 0.5 --out both"});
}

}  // namespace

ExitCode run_combine(Arguments arguments) {
  CombineFlags values;
  Flags flags("combine",
              "Makes one adapter of several: the sum of their changes, weighted, pruned or elected "
              "as the method says, in the rank that is asked for.");
  add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("adapter", "the folder of an adapter");
  flags.require("out", "the folder to write");
  apply_machine_flags(values.model);
  combine(values);
  return ExitCode::done;
}

}  // namespace graft::cli
