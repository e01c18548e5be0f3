#include "graft/cli/combine_flags.h"

#include <iostream>
#include <utility>

#include "graft/cli/terminal.h"
#include "graft/cli/word_list.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

/// Names of flags that mean nothing without another one.
struct Dependents {
  std::vector<std::string> of_model, of_search;
};

void add_method_flags(Flags& flags, CombineFlags& values) {
  flags.group("Combination");
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
}

std::vector<std::string> add_search_flags(Flags& flags, CombineFlags& values) {
  flags.group("Search");
  flags.add("search", values.data.path, "FILE|DIR",
            "data that no adapter was trained on, as for eval: many combinations are measured on "
            "it, and the one with the lowest loss is written");
  flags.add("search-types", values.search_types, "LIST",
            "methods to try; default: linear, cat, ties, dare_linear, dare_ties and "
            "magnitude_prune, as far as adapters and flags allow");
  flags.add("search-weights", values.search_weights, "LIST", "weights to try for each adapter");
  flags.add("search-densities", values.search_densities, "LIST", "densities to try");
  flags.add("search-limit", values.search_limit, "N", "try at most N combinations",
            {1, int64_t{1} << 40});
  flags.add("limit", values.limit, "N", "measure on the first N samples only",
            {1, int64_t{1} << 40});
  flags.add("batch-size", values.batch_size, "N", "samples of one forward; the result is the same",
            {1, 1 << 20});
  std::vector<std::string> names = add_sample_flags(flags, values.data);
  for (const char* name : {"search-types", "search-weights", "search-densities", "search-limit",
                           "limit", "batch-size"})
    names.emplace_back(name);
  return names;
}

Dependents add_flags(Flags& flags, CombineFlags& values) {
  Dependents dependents;
  flags.group("Adapters");
  flags.add("adapter", values.model.adapters, "[NAME=]DIR[@WEIGHT]",
            "an adapter and its weight, 1 where none is given; repeated for each");
  add_method_flags(flags, values);
  dependents.of_search = add_search_flags(flags, values);
  flags.group("Model");
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the model they are for; only needed for --search, and where they bring more than "
            "low-rank matrices (modules_to_save, bias, trained tokens, use_dora, pissa, olora, "
            "ensure_weight_tying)");
  dependents.of_model = add_holding_flags(flags, values.model);
  flags.group("Result");
  flags.add("out", values.out, "DIR", "the folder of the new adapter");
  flags.add("overwrite", values.overwrite, "replace the adapter in --out; other files stay");
  flags.add("json", values.json,
            "print the result as one JSON object, with what each layer loses, and all that a "
            "search measured");
  flags.examples({"graft combine --adapter a@0.7 --adapter b@0.3 --out both",
                  "graft combine --adapter a --adapter b --method ties --density 0.5 --out both",
                  "graft combine --model MODEL --adapter a --adapter b --search valid.jsonl "
                  "--out both"});
  return dependents;
}

void check_search_flags(Flags& flags, const CombineFlags& values,
                        const std::vector<std::string>& of_search) {
  if (!values.is_search()) {
    for (const std::string& name : of_search)
      flags.set_aside(name, "search", "is for --search; give that, or leave it out");
    return;
  }
  GRAFT_CHECK(!values.model.model.empty(), ConfigError,
              "combine: --search measures adapters on their model; give it (--model)");
  flags.set_aside("method", "search", "is what --search looks for; see --search-types");
  flags.set_aside("density", "search", "is what --search looks for; see --search-densities");
}

/// The numbers of a flag, at least one.
std::vector<double> numbers_of(const char* flag, const std::string& text) {
  std::optional<std::vector<double>> numbers = split_numbers(text);
  GRAFT_CHECK(numbers && !numbers->empty(), ConfigError, "combine: --", flag, " is '", shown(text),
              "', expected numbers with commas between, such as 0.25,0.5,1");
  return *std::move(numbers);
}

}  // namespace

bool parse_combine_flags(CombineFlags& values, std::span<const std::string> arguments) {
  Flags flags("combine",
              "Makes one adapter of several: the sum of their changes, weighted, pruned or elected "
              "as the method says, in the rank that is asked for.");
  const Dependents dependents = add_flags(flags, values);
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return false;
  }
  flags.require("adapter", "the folder of an adapter");
  flags.require("out", "the folder to write");
  check_search_flags(flags, values, dependents.of_search);
  if (!values.model.model.empty()) {
    apply_model_flags(flags, values.model);
    return true;
  }
  for (const std::string& name : dependents.of_model)
    flags.set_aside(name, "model", "says how --model is held; give that, or leave it out");
  apply_machine_flags(values.model);
  return true;
}

peft::CombineOptions combine_options(const CombineFlags& values) {
  return {.combination_type = peft::parse_combination(values.method),
          .svd_rank = values.rank,
          .svd_clamp = values.clamp,
          .density = values.density,
          .majority_sign_method = peft::parse_majority_sign(values.majority_sign),
          .seed = static_cast<uint64_t>(values.seed),
          .compat = values.compat == "peft" ? peft::Compat::peft : peft::Compat::none};
}

train::CombineSearchOptions search_options(const CombineFlags& values) {
  train::CombineSearchOptions options{
      .weights = numbers_of("search-weights", values.search_weights),
      .densities = numbers_of("search-densities", values.search_densities),
      .limit = values.search_limit,
      .combine = combine_options(values),
      .batch_size = values.batch_size};
  for (const std::string& type : split(values.search_types))
    options.types.push_back(peft::parse_combination(type));
  return options;
}

AdapterFolder combine_folder(const CombineFlags& values, const std::vector<AdapterName>& adapters) {
  AdapterFolder folder{
      .out = values.out,
      .policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty};
  for (const std::string& input : {values.model.model, values.data.path}) {
    if (!input.empty())
      folder.inputs.emplace_back(input);
  }
  for (const AdapterName& adapter : adapters)
    folder.inputs.push_back(adapter.folder);
  return folder;
}

}  // namespace graft::cli
