// Search for a combination: the adapters of a model are combined in many ways, and each is measured
// on samples that none of them was trained on.
//
// A way is a method (a type and, where it prunes, a density) with a weight for each adapter. First
// comes what there is without a combination: the base alone and each adapter alone. Then every
// method is tried with one weight for all adapters, the value of the grid that is nearest to a
// mean. Then the weights of each method are searched, the method that is best so far first: of two
// adapters the whole grid; of more, one adapter's weight after the other with the best values of
// the others, until a round finds nothing better. So what is found is worth the most whenever the
// search ends.
//
// Everything is done on one model with its adapters. A candidate is an adapter that is put on it,
// measured and taken out again, and holds the numbers that add_weighted_adapter makes: combining by
// the best trial's options makes them again.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graft/peft/peft_model.h"
#include "graft/text/sample_source.h"

namespace graft::train {

/// A way to combine, but for the weights.
struct CombineMethod {
  peft::Combination type = peft::Combination::linear;
  std::optional<double> density{};

  bool operator==(const CombineMethod&) const = default;
};

/// What was measured.
struct CombineTrial {
  /// Unset: no combination. The adapter of weight 1 as it is, or the base where there is none.
  std::optional<CombineMethod> method{};
  std::vector<double> weights;  ///< one for each adapter
  double loss = 0;              ///< as train::evaluate has it; NaN where it is not finite
  std::string failure{};        ///< why there is no loss; empty where there is one
  int64_t rank = 0;             ///< of the combination

  /// True of the base alone.
  bool is_base() const;
};

struct CombineSearchOptions {
  /// Those of default_combinations() where there are none.
  std::vector<peft::Combination> types{};
  std::vector<double> weights = {0.25, 0.5, 0.75, 1};
  std::vector<double> densities = {0.2, 0.5, 0.8};
  /// How many combinations are measured at most, besides the base and the adapters alone.
  int64_t limit = 50;
  /// Of every combination; its type and density are not looked at.
  peft::CombineOptions combine{};
  int64_t batch_size = 4;
  /// Called after each trial with what was measured and how many trials there will be at most.
  std::function<void(const CombineTrial& trial, int64_t total)> on_trial{};
  /// As of EvaluateOptions, within a trial, and with 0 before each layer of a combination is made;
  /// returns false to end the search with what there is.
  std::function<bool(int64_t done, int64_t total)> progress{};
};

/// Why a search ended: nothing is left to try, the limit, `progress`.
enum class SearchEnd { exhausted, limit, stopped };

struct CombineSearch {
  /// The lowest loss first, of equals the one tried first; those without a loss come last.
  std::vector<CombineTrial> trials{};
  SearchEnd end = SearchEnd::exhausted;

  /// The best one that has an adapter; nullptr where none has a loss.
  const CombineTrial* best() const;
};

/// The types that are searched by default: linear, cat, ties, dare_linear, dare_ties and
/// magnitude_prune, without those that `combine` or the adapters do not go with (cat where there is
/// a rank, a clamp or use_dora). Throws ConfigError where that leaves none.
std::vector<peft::Combination> default_combinations(const peft::PeftModel& model,
                                                    const std::vector<std::string>& adapters,
                                                    const peft::CombineOptions& combine);

/// Searches on the samples. The model is afterwards as it was before. Throws ConfigError for fewer
/// than two adapters, unknown ones, a type, weight or density that add_weighted_adapter would
/// refuse, no weight above 0, a limit below 1, and as evaluate does, before anything is measured.
CombineSearch search_combinations(peft::PeftModel& model, const std::vector<std::string>& adapters,
                                  const text::Samples& samples,
                                  const CombineSearchOptions& options = {});

/// With these options and its weights, add_weighted_adapter makes a trial's combination again.
/// Requires: the trial has a method.
peft::CombineOptions combine_options(const CombineTrial& trial,
                                     const CombineSearchOptions& options);

}  // namespace graft::train
