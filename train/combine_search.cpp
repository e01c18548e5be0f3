#include "graft/train/combine_search.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "graft/tensor/error.h"
#include "graft/train/batch.h"
#include "graft/train/evaluate.h"

namespace graft::train {
namespace {

using Weights = std::vector<double>;

/// An adapter that is taken out of the model again.
class TemporaryAdapter {
 public:
  explicit TemporaryAdapter(peft::PeftModel& model)
      : model_(model), name_(model.unused_name("candidate")) {}
  ~TemporaryAdapter() {
    if (is_there_)
      model_.delete_adapter(name_);
  }
  TemporaryAdapter(const TemporaryAdapter&) = delete;
  TemporaryAdapter& operator=(const TemporaryAdapter&) = delete;

  const std::string& name() const { return name_; }
  peft::CombineReport combine(const std::vector<std::string>& adapters, const Weights& weights,
                              const peft::CombineOptions& options) {
    peft::CombineReport report = model_.add_weighted_adapter(adapters, weights, name_, options);
    is_there_ = true;
    return report;
  }

 private:
  peft::PeftModel& model_;
  std::string name_;
  bool is_there_ = false;
};

peft::CombineOptions with_method(const CombineMethod& method, peft::CombineOptions options) {
  options.combination_type = method.type;
  options.density = method.density;
  return options;
}

/// Every type with every density, or alone where it prunes nothing.
std::vector<CombineMethod> methods_of(const std::vector<peft::Combination>& types,
                                      const std::vector<double>& densities) {
  std::vector<CombineMethod> methods;
  for (const peft::Combination type : types) {
    if (!peft::prunes(type)) {
      methods.push_back({type});
      continue;
    }
    for (const double density : densities)
      methods.push_back({type, density});
  }
  return methods;
}

/// Thrown where `progress` gives up while adapters are combined.
class Stopped : public std::exception {};

bool has_loss(const CombineTrial& trial) {
  return trial.failure.empty();
}

bool is_better(const CombineTrial& one, const CombineTrial& other) {
  return has_loss(one) && (!has_loss(other) || one.loss < other.loss);
}

class Searcher {
 public:
  /// Refers to everything it is given.
  Searcher(peft::PeftModel& model, const std::vector<std::string>& adapters,
           const text::Samples& samples, const CombineSearchOptions& options)
      : model_(model), adapters_(adapters), samples_(samples), options_(options) {}

  CombineSearch run() {
    check();
    measure_alone();
    struct Start {
      CombineMethod method;
      CombineTrial trial;
    };
    std::vector<Start> starts;
    const Weights weights(adapters_.size(), start_weight());
    for (const CombineMethod& method : methods_) {
      if (const CombineTrial* trial = measured(method, weights))
        starts.push_back({method, *trial});
    }
    std::ranges::stable_sort(starts, is_better, &Start::trial);
    for (const Start& start : starts) {
      if (adapters_.size() == 2)
        search_grid(start.method);
      else
        search_by_adapter(start.trial);
    }
    std::ranges::stable_sort(found_.trials, is_better);
    return std::move(found_);
  }

 private:
  void check() {
    GRAFT_CHECK(adapters_.size() >= 2, ConfigError, "search: ", adapters_.size(),
                " given, at least two adapters to combine expected");
    GRAFT_CHECK(options_.limit >= 1, ConfigError, "search: the limit is ", options_.limit,
                ", at least 1 expected");
    GRAFT_CHECK(std::ranges::any_of(options_.weights, [](double weight) { return weight > 0; }),
                ConfigError, "search: no weight above 0 is given");
    check_samples("search", samples_, model_.info().vocab_size);
    const auto types = options_.types.empty()
                           ? default_combinations(model_, adapters_, options_.combine)
                           : options_.types;
    methods_ = methods_of(types, options_.densities);
    GRAFT_CHECK(!methods_.empty(), ConfigError, "search: no density is given");
    for (const CombineMethod& method : methods_) {
      for (const double weight : options_.weights)
        model_.check_combination(adapters_, Weights(adapters_.size(), weight),
                                 with_method(method, options_.combine));
    }
    const double ways = std::pow(static_cast<double>(options_.weights.size()),
                                 static_cast<double>(adapters_.size())) *
                        static_cast<double>(methods_.size());
    total_ = std::ssize(adapters_) + 1 +
             static_cast<int64_t>(std::min(ways, static_cast<double>(options_.limit)));
  }

  /// The value with which the weights come nearest to a mean.
  double start_weight() const {
    const double mean = 1 / static_cast<double>(adapters_.size());
    return *std::ranges::min_element(options_.weights, {}, [&](double weight) {
      return weight > 0 ? std::fabs(weight - mean) : std::numeric_limits<double>::infinity();
    });
  }

  /// The base, and every adapter as it is.
  void measure_alone() {
    measure({.weights = Weights(adapters_.size(), 0)}, {});
    for (size_t i = 0; i < adapters_.size(); ++i) {
      CombineTrial trial{.weights = Weights(adapters_.size(), 0)};
      trial.weights[i] = 1;
      measure(std::move(trial), {.names = {adapters_[i]}});
    }
  }

  void search_grid(const CombineMethod& method) {
    for (const double first : options_.weights) {
      for (const double second : options_.weights)
        measured(method, {first, second});
    }
  }

  /// Begins with a trial, and looks for better ones in the weight of one adapter at a time.
  void search_by_adapter(CombineTrial best) {
    for (bool is_improved = true; is_improved;) {
      is_improved = false;
      for (size_t i = 0; i < adapters_.size(); ++i) {
        Weights weights = best.weights;
        for (const double weight : options_.weights) {
          weights[i] = weight;
          const CombineTrial* trial = measured(*best.method, weights);
          if (trial == nullptr || !is_better(*trial, best))
            continue;
          best = *trial;
          is_improved = true;
        }
      }
    }
  }

  /// The trial of a combination that is new, until the next one; nullptr where it is not, or where
  /// the search has ended.
  const CombineTrial* measured(const CombineMethod& method, const Weights& weights) {
    const bool is_nothing = std::ranges::all_of(weights, [](double weight) { return weight == 0; });
    if (is_nothing || is_over_ || tried_.contains({method.type, method.density, weights}))
      return nullptr;
    if (std::ssize(tried_) >= options_.limit) {
      found_.end = SearchEnd::limit;
      is_over_ = true;
      return nullptr;
    }
    tried_.insert({method.type, method.density, weights});
    TemporaryAdapter candidate(model_);
    CombineTrial trial{.method = method, .weights = weights};
    try {
      trial.rank = candidate.combine(adapters_, weights, watched(method)).rank;
    } catch (const NonFiniteError& error) {
      return keep_failed(std::move(trial), error);
    } catch (const Stopped&) {
      return stop();
    }
    return measure(std::move(trial), {.names = {candidate.name()}});
  }

  /// The options of a combination that `progress` can end.
  peft::CombineOptions watched(const CombineMethod& method) const {
    peft::CombineOptions options = with_method(method, options_.combine);
    options.on_layer = [this](const std::string& path) {
      if (options_.combine.on_layer)
        options_.combine.on_layer(path);
      if (options_.progress && !options_.progress(0, samples_.size()))
        throw Stopped();
    };
    return options;
  }

  const CombineTrial* stop() {
    found_.end = SearchEnd::stopped;
    is_over_ = true;
    return nullptr;
  }

  /// Adds a trial with its loss under the adapters; nullptr where the search has ended.
  const CombineTrial* measure(CombineTrial trial, const nn::AdapterSelection& adapters) {
    if (is_over_)
      return nullptr;
    try {
      const auto evaluation = evaluate(
          model_, samples_,
          {.batch_size = options_.batch_size, .adapters = adapters, .progress = options_.progress});
      if (!evaluation)
        return stop();
      trial.loss = evaluation->loss;
    } catch (const NonFiniteError& error) {
      return keep_failed(std::move(trial), error);
    }
    return keep(std::move(trial));
  }

  const CombineTrial* keep_failed(CombineTrial trial, const NonFiniteError& error) {
    trial.loss = std::numeric_limits<double>::quiet_NaN();
    trial.failure = error.what();
    return keep(std::move(trial));
  }

  const CombineTrial* keep(CombineTrial trial) {
    found_.trials.push_back(std::move(trial));
    if (options_.on_trial)
      options_.on_trial(found_.trials.back(), total_);
    return &found_.trials.back();
  }

  peft::PeftModel& model_;
  const std::vector<std::string>& adapters_;
  const text::Samples& samples_;
  const CombineSearchOptions& options_;
  std::vector<CombineMethod> methods_;
  int64_t total_ = 0;
  std::set<std::tuple<peft::Combination, std::optional<double>, Weights>> tried_;
  bool is_over_ = false;
  CombineSearch found_;
};

}  // namespace

bool CombineTrial::is_base() const {
  return !method && std::ranges::all_of(weights, [](double weight) { return weight == 0; });
}

const CombineTrial* CombineSearch::best() const {
  const auto found = std::ranges::find_if(
      trials, [](const CombineTrial& trial) { return has_loss(trial) && !trial.is_base(); });
  return found == trials.end() ? nullptr : &*found;
}

std::vector<peft::Combination> default_combinations(const peft::PeftModel& model,
                                                    const std::vector<std::string>& adapters,
                                                    const peft::CombineOptions& combine) {
  using enum peft::Combination;
  std::vector<peft::Combination> candidates = {linear,      cat,       ties,
                                               dare_linear, dare_ties, magnitude_prune};
  // PEFT takes notice of these settings in the types with svd in their names only.
  if (combine.compat == peft::Compat::peft && (combine.svd_rank || combine.svd_clamp))
    candidates = {svd, ties_svd, dare_linear_svd, dare_ties_svd, magnitude_prune_svd};
  std::vector<peft::Combination> types;
  std::string refusal;
  for (const peft::Combination type : candidates) {
    const CombineMethod method{
        type, peft::prunes(type) ? std::optional<double>(1) : std::optional<double>()};
    try {
      model.check_combination(adapters, Weights(adapters.size(), 1), with_method(method, combine));
      types.push_back(type);
    } catch (const ConfigError& error) {
      refusal = error.what();
    }
  }
  GRAFT_CHECK(!types.empty(), ConfigError, refusal);
  return types;
}

CombineSearch search_combinations(peft::PeftModel& model, const std::vector<std::string>& adapters,
                                  const text::Samples& samples,
                                  const CombineSearchOptions& options) {
  return Searcher(model, adapters, samples, options).run();
}

peft::CombineOptions combine_options(const CombineTrial& trial,
                                     const CombineSearchOptions& options) {
  return with_method(*trial.method, options.combine);
}

}  // namespace graft::train
