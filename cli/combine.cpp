// graft combine: makes one adapter of several.

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/combine_flags.h"
#include "graft/cli/combine_model.h"
#include "graft/cli/combine_result.h"
#include "graft/cli/combine_search.h"
#include "graft/cli/commands.h"
#include "graft/cli/terminal.h"
#include "graft/peft/combine_files.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// The model is needed for what is not low-rank: it is loaded, and the result saved from it.
peft::CombineReport combine_on_model(const CombineFlags& values,
                                     const std::vector<AdapterName>& adapters,
                                     const peft::CombineOptions& options, const fs::path& out) {
  const LoadedModel loaded = load_to_combine(values.model, adapters);
  std::vector<std::string> names;
  std::vector<double> weights;
  for (const AdapterName& adapter : adapters) {
    names.push_back(adapter.name);
    weights.push_back(adapter.scale);
  }
  const std::string result = loaded.adapted->unused_name("combined");
  const peft::CombineReport report =
      loaded.adapted->add_weighted_adapter(names, weights, result, options);
  save_adapter(*loaded.adapted, result, out);
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

void combine(const CombineFlags& values, const std::vector<AdapterName>& adapters) {
  const peft::CombineOptions options = combine_options(values);
  peft::validate(options);
  CombineResult result{
      .out = values.out,
      .method = values.method,
      .from = counted(std::ssize(adapters), "adapter") + " combined by " + values.method};
  write_adapter_folder(combine_folder(values, adapters), [&](const fs::path& folder) {
    result.report = values.model.model.empty()
                        ? combine_files(adapters, options, folder)
                        : combine_on_model(values, adapters, options, folder);
  });
  std::cout << (values.json ? io::to_text(result.json()) + "\n" : result.text());
}

}  // namespace

ExitCode run_combine(Arguments arguments) {
  CombineFlags values;
  if (!parse_combine_flags(values, arguments))
    return ExitCode::done;
  const std::vector<AdapterName> adapters = adapters_of(values.model);
  if (values.is_search())
    return search_combination(values, adapters);
  combine(values, adapters);
  return ExitCode::done;
}

}  // namespace graft::cli
