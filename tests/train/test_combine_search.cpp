#include <algorithm>
#include <cmath>
#include <set>

#include "graft/nn/module.h"
#include "graft/tests/train/run.h"
#include "graft/train/combine_search.h"
#include "graft/train/evaluate.h"

namespace graft::train {
namespace {

using Names = std::vector<std::string>;
using peft::Combination;

/// A tiny Llama with adapters of small random numbers.
struct Adapted {
  explicit Adapted(Names adapters, bool use_dora = false)
      : base(models::load(test::golden("models/gqa"))),
        model(*base, {.r = 2, .target_modules = {"q_proj", "down_proj"}, .use_dora = use_dora},
              adapters.at(0)),
        names(std::move(adapters)) {
    uint64_t seed = 1;
    for (const std::string& name : names) {
      if (name != names[0])
        model.add_adapter(name, {.r = 2, .target_modules = {"q_proj", "up_proj"}});
      model.set_adapter({name});
      for (auto [path, variable] : model.trainable_parameters()) {
        if (!path.ends_with("magnitude_vector"))
          variable.set_value(test::random_tensor(variable.shape(), ++seed));
      }
    }
    model.set_adapter({names[0]}, true);
  }

  CombineSearch search(const CombineSearchOptions& options) {
    return search_combinations(model, names, samples, options);
  }

  std::unique_ptr<nn::CausalLM> base;
  peft::PeftModel model;
  Names names;
  std::vector<text::Sample> samples = golden_samples(6);
};

/// Without those of the base and of adapters alone.
std::vector<CombineTrial> combinations(const CombineSearch& search) {
  std::vector<CombineTrial> found;
  std::ranges::copy_if(search.trials, std::back_inserter(found),
                       [](const CombineTrial& trial) { return trial.method.has_value(); });
  return found;
}

bool same(const CombineSearch& one, const CombineSearch& other) {
  return std::ranges::equal(
      one.trials, other.trials, [](const CombineTrial& a, const CombineTrial& b) {
        return a.method == b.method && a.weights == b.weights && a.loss == b.loss;
      });
}

const CombineSearchOptions small = {
    .types = {Combination::linear, Combination::ties}, .weights = {0.5, 1}, .densities = {0.5}};

}  // namespace

TEST_CASE("combine search: a trial has the loss of what combining by it makes, the best first") {
  Adapted adapted({"a", "b"});
  const CombineSearch search = adapted.search(small);
  const auto loss_with = [&](Names names) {
    return evaluate(adapted.model, adapted.samples,
                    {.adapters = nn::AdapterSelection{.names = std::move(names)}})
        ->loss;
  };
  for (const CombineTrial& trial : search.trials) {
    if (!trial.method) {
      Names chosen;
      for (size_t i = 0; i < 2; ++i) {
        if (trial.weights[i] == 1)
          chosen.push_back(adapted.names[i]);
      }
      CHECK(trial.is_base() == chosen.empty());
      CHECK(trial.loss == loss_with(chosen));
      continue;
    }
    const peft::CombineReport report = adapted.model.add_weighted_adapter(
        adapted.names, trial.weights, "again", combine_options(trial, small));
    CHECK(trial.loss == loss_with({"again"}));
    CHECK(trial.rank == report.rank);
    adapted.model.delete_adapter("again");
  }
  CHECK(std::ranges::is_sorted(search.trials, {}, &CombineTrial::loss));
  CHECK(search.trials.front().loss < search.trials.back().loss);
  CHECK(adapted.model.available_adapters() == adapted.names);
  CHECK(adapted.model.active_adapters() == Names{"a"});
}

TEST_CASE("combine search: of two adapters the whole grid is tried, and nothing twice") {
  Adapted adapted({"a", "b"});
  CombineSearchOptions options = small;
  options.weights = {0, 0.5, 1, 0.5};
  options.types.push_back(Combination::ties);
  int64_t told = 0;
  options.on_trial = [&](const CombineTrial&, int64_t total) {
    ++told;
    CHECK(total >= 19);
  };
  const CombineSearch search = adapted.search(options);
  CHECK(search.end == SearchEnd::exhausted);
  std::set<std::pair<Combination, std::vector<double>>> seen;
  for (const CombineTrial& trial : combinations(search)) {
    CHECK(trial.method->density.has_value() == (trial.method->type == Combination::ties));
    seen.insert({trial.method->type, trial.weights});
  }
  CHECK(seen.size() == 2 * (9 - 1));  // but for both weights 0
  CHECK(search.trials.size() == seen.size() + 3);
  CHECK(told == std::ssize(search.trials));
}

TEST_CASE("combine search: of three adapters no single weight is left that would be better") {
  Adapted adapted({"a", "b", "c"});
  CombineSearchOptions options{.types = {Combination::linear},
                               .weights = {-1, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1}};
  const CombineSearch search = adapted.search(options);
  const std::vector<CombineTrial> tried = combinations(search);
  CHECK(search.end == SearchEnd::exhausted);
  CHECK(tried.size() < 50);  // the grid has 512
  for (size_t i = 0; i < 3; ++i) {
    for (const double weight : options.weights) {
      std::vector<double> weights = tried[0].weights;
      weights[i] = weight;
      CHECK(std::ranges::find(tried, weights, &CombineTrial::weights) != tried.end());
    }
  }
}

TEST_CASE("combine search: under a limit every method is tried before a weight, the best goes on") {
  Adapted adapted({"a", "b"});
  CombineSearchOptions options{.densities = {0.3, 0.6}, .limit = 10};
  const CombineSearch starts = adapted.search(options);
  CHECK(starts.end == SearchEnd::limit);
  const std::vector<CombineTrial> tried = combinations(starts);
  CHECK(tried.size() == 10);  // linear, cat, and four types with two densities
  for (const CombineTrial& trial : tried)
    CHECK(trial.weights == std::vector<double>{0.5, 0.5});
  options.limit = 12;
  int64_t of_best = 0;
  for (const CombineTrial& trial : combinations(adapted.search(options)))
    of_best += trial.method == tried[0].method;
  CHECK(of_best == 3);
}

TEST_CASE("combine search: when it is stopped it gives what it has") {
  Adapted adapted({"a", "b"});
  for (const int64_t batches : {0, 3, 5}) {  // a batch of all samples for each trial
    CombineSearchOptions options = small;
    options.batch_size = 6;
    int64_t done = 0;
    options.progress = [&](int64_t samples, int64_t) { return samples == 0 || done++ < batches; };
    const CombineSearch search = adapted.search(options);
    CHECK(search.end == SearchEnd::stopped);
    CHECK(std::ssize(search.trials) == batches);
    CHECK((search.best() == nullptr) == (batches == 0));
    CHECK(adapted.model.available_adapters() == adapted.names);
  }
}

TEST_CASE("combine search: it is stopped between two layers of a combination, too") {
  Adapted adapted({"a", "b"});
  CombineSearchOptions options = small;
  int64_t layers = 0;
  options.progress = [&](int64_t samples, int64_t total) {
    CHECK(total == 6);
    layers += samples == 0;
    return layers < 3;
  };
  const CombineSearch search = adapted.search(options);
  CHECK(search.end == SearchEnd::stopped);
  CHECK(layers == 3);
  CHECK(search.trials.size() == 3);  // the base and each adapter alone
  CHECK(adapted.model.available_adapters() == adapted.names);
}

TEST_CASE("combine search: what has no finite loss is told, comes last, and is never the best") {
  Adapted adapted({"a", "b"});
  adapted.model.set_adapter({"b"});
  Variable broken = adapted.model.trainable_parameters()[0].variable;
  broken.set_value(Tensor::full(broken.shape(), std::nan("")));
  const CombineSearch search = adapted.search(small);
  REQUIRE(search.trials.size() == 11);
  CHECK(search.best()->weights == std::vector<double>{1, 0});
  CHECK_FALSE(search.best()->method.has_value());
  for (size_t i = 0; i < search.trials.size(); ++i) {
    CHECK(std::isnan(search.trials[i].loss) == (i >= 2));
    CHECK(search.trials[i].failure.empty() == (i < 2));
  }
  CHECK(adapted.model.available_adapters() == adapted.names);
}

TEST_CASE("combine search: the same seed tries the same, another one prunes otherwise") {
  Adapted adapted({"a", "b"});
  CombineSearchOptions options = small;
  options.types = {Combination::dare_ties};
  const CombineSearch once = adapted.search(options);
  CHECK(same(once, adapted.search(options)));
  options.combine.seed = 1;
  CHECK_FALSE(same(once, adapted.search(options)));
}

TEST_CASE("combine search: by default cat is tried where ranks may add up") {
  const auto has_cat = [](const Adapted& adapted, const peft::CombineOptions& combine) {
    const auto types = default_combinations(adapted.model, adapted.names, combine);
    CHECK(types[0] == Combination::linear);
    return std::ranges::find(types, Combination::cat) != types.end();
  };
  const Adapted plain({"a", "b"});
  CHECK(has_cat(plain, {}));
  CHECK_FALSE(has_cat(plain, {.svd_rank = 3}));
  const std::vector<Combination> as_peft =
      default_combinations(plain.model, plain.names, {.svd_rank = 3, .compat = peft::Compat::peft});
  CHECK(as_peft.size() == 5);
  CHECK(std::ranges::all_of(as_peft, peft::is_svd));
  Adapted dora({"a", "b"}, true);
  CHECK_FALSE(has_cat(dora, {}));
  const CombineSearch search = dora.search({.weights = {1}, .densities = {1}});
  CHECK(search.end == SearchEnd::exhausted);
  CHECK(combinations(search).size() == 5);
}

TEST_CASE("combine search: what cannot be tried is refused before anything is measured") {
  Adapted adapted({"a", "b"});
  const auto refused = [&](const CombineSearchOptions& options, const char* part) {
    CombineSearchOptions watched = options;
    watched.on_trial = [](const CombineTrial&, int64_t) { FAIL("something was measured"); };
    test::check_contains(test::message_of<ConfigError>([&] { adapted.search(watched); }), part);
  };
  refused({.weights = {0}}, "no weight above 0 is given");
  refused({.weights = {0.5, std::nan("")}}, "the weight of \"a\" is nan");
  refused({.densities = {0.5, 1.5}}, "density is 1.5");
  refused({.types = {Combination::ties}, .densities = {}}, "no density is given");
  refused({.limit = 0}, "the limit is 0");
  refused({.types = {Combination::cat}, .combine = {.svd_rank = 3}}, "svd_rank is given");
  adapted.names = {"a"};
  refused({}, "1 given, at least two adapters");
  adapted.names = {"a", "z"};
  refused({}, "adapter \"z\" does not exist");
  adapted.names = {"a", "b"};
  adapted.samples = {};
  refused({}, "search: no samples given");
}

}  // namespace graft::train
