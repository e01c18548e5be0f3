#include "graft/cli/combine_search.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/combine_model.h"
#include "graft/cli/combine_result.h"
#include "graft/cli/eval_samples.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/io/file.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// One search, from the data to the folder.
class CombinationSearch {
 public:
  /// Checks the flags. Refers to them and the adapters.
  CombinationSearch(const CombineFlags& values, const std::vector<AdapterName>& adapters)
      : values_(values),
        adapters_(adapters),
        folder_(combine_folder(values, adapters)),
        options_(search_options(values)) {
    for (const AdapterName& adapter : adapters) {
      GRAFT_CHECK(adapter.scale == 1, ConfigError, "combine: --adapter ", shown(adapter.name),
                  " is given a weight, which is what --search looks for; leave @",
                  number_text(adapter.scale), " out and see --search-weights");
      names_.push_back(adapter.name);
    }
    check_out_folder(folder_.out, folder_.policy, folder_.inputs);
  }

  ExitCode run() {
    const auto tokenizer = load_tokenizer(values_.model.model, values_.data.chat_template);
    const EvalSamples data(values_.data, values_.limit, eval_file(values_.data.path),
                           tokenizer ? &*tokenizer : nullptr,
                           models::describe(values_.model.model).info);
    const LoadedModel loaded = load_to_combine(values_.model, adapters_);
    nn::pack(*loaded.base);
    watch_signals();
    search(*loaded.adapted, data);
    const train::CombineTrial* best = found_.best();
    if (best == nullptr && found_.end == train::SearchEnd::stopped) {
      std::cerr << "stopped before an adapter was measured; nothing is written\n";
      return interrupted_exit_code();
    }
    GRAFT_CHECK(best != nullptr, NonFiniteError, "combine: no adapter and no combination of them ",
                "has a loss on ", values_.data.path, ": ", found_.trials.back().failure);
    if (found_.trials[0].is_base())
      warn("the base alone has the lowest loss: on these data no adapter helps");
    if (!values_.json)
      print_trials(data);  // before what may fail
    try {
      write(*loaded.adapted, *best, data);
    } catch (const Error&) {
      if (values_.json)
        print_json(io::Json(), data);  // the search may have taken hours
      throw;
    }
    if (values_.json)
      print_json(result_.json(), data);
    else
      std::cout << result_.text();
    return found_.end == train::SearchEnd::stopped ? interrupted_exit_code() : ExitCode::done;
  }

 private:
  void search(peft::PeftModel& model, const EvalSamples& data) {
    train::CombineSearchOptions options = options_;
    int64_t done = 0;
    std::optional<double> lowest;
    options.on_trial = [&](const train::CombineTrial& trial, int64_t total) {
      ++done;
      if (trial.failure.empty() && !(lowest && *lowest <= trial.loss))
        lowest = trial.loss;
      show(concat(done, " of at most ", total, "  ", label(trial), ": ", loss_text(trial)));
    };
    options.progress = [&](int64_t samples, int64_t all) {
      if (terminal_.interactive)
        show_live(concat(done, " tried", lowest ? ", lowest loss " + fixed_text(*lowest, 4) : "",
                         "; ", samples, " of ", all, " samples of the next"));
      return !stop_requested();
    };
    found_ = train::search_combinations(model, names_, data.samples(), options);
    show_live("");
  }

  /// A line that stays, where nobody watches, or one that the next one replaces.
  void show(const std::string& line) const {
    if (terminal_.interactive)
      show_live(line);
    else
      std::cerr << line << std::endl;
  }
  void show_live(const std::string& line) const {
    // A line that wraps could not be taken back.
    if (terminal_.interactive)
      std::cerr << "\r\x1b[K" << (display_width(line) < terminal_.columns ? line : "")
                << std::flush;
  }

  /// The adapter of a trial that is none of a combination.
  const std::string& lone_adapter(const train::CombineTrial& trial) const {
    const auto one = std::ranges::find(trial.weights, 1.0);
    return names_[static_cast<size_t>(one - trial.weights.begin())];
  }

  std::string method_text(const train::CombineTrial& trial) const {
    if (trial.is_base())
      return "base alone";
    return trial.method ? std::string(peft::name(trial.method->type))
                        : shown(lone_adapter(trial)) + " alone";
  }

  /// "ties, density 0.5, weights 0.25 0.75".
  std::string label(const train::CombineTrial& trial) const {
    std::string text = method_text(trial);
    if (!trial.method)
      return text;
    if (trial.method->density)
      text += ", density " + number_text(*trial.method->density);
    text += ", weights";
    for (const double weight : trial.weights)
      text += " " + number_text(weight);
    return text;
  }

  static std::string loss_text(const train::CombineTrial& trial) {
    return trial.failure.empty() ? "loss " + fixed_text(trial.loss, 4) : trial.failure;
  }

  void write(peft::PeftModel& model, const train::CombineTrial& best, const EvalSamples& data) {
    result_ = {.out = values_.out, .method = {}, .from = label(best)};
    std::string made;
    if (best.method) {
      made = model.unused_name("combined");
      result_.method = peft::name(best.method->type);
      result_.report = model.add_weighted_adapter(names_, best.weights, made,
                                                  train::combine_options(best, options_));
    } else {
      made = lone_adapter(best);
      result_.report.rank = model.config(made).r;
    }
    write_adapter_folder(folder_, [&](const fs::path& folder) {
      save_adapter(model, made, folder);
      io::write_file_atomically(folder / combine_search_name, io::to_text(json(data)) + "\n");
    });
  }

  io::Json json(const EvalSamples& data) const {
    const SampleCounts counts = count(data.samples());
    io::Json json = {{"data", values_.data.path},
                     {"samples", counts.samples},
                     {"tokens", counts.trained_tokens},
                     {"end", end_name()},
                     {"trials", io::Json::array()}};
    for (const train::CombineTrial& trial : found_.trials)
      json["trials"].push_back(json_of(trial));
    return json;
  }

  io::Json json_of(const train::CombineTrial& trial) const {
    io::Json weights = io::Json::object();
    for (size_t i = 0; i < names_.size(); ++i)
      weights[names_[i]] = trial.weights[i];
    io::Json json = {{"method", nullptr}, {"density", nullptr}, {"weights", std::move(weights)}};
    if (trial.method) {
      json["method"] = peft::name(trial.method->type);
      if (trial.method->density)
        json["density"] = *trial.method->density;
      json["rank"] = trial.rank;
    }
    json["loss"] = trial.loss;
    json["perplexity"] = std::exp(trial.loss);
    if (!trial.failure.empty())
      json["failure"] = trial.failure;
    return json;
  }

  const char* end_name() const {
    switch (found_.end) {
      case train::SearchEnd::exhausted:
        return "exhausted";
      case train::SearchEnd::limit:
        return "limit";
      case train::SearchEnd::stopped:
        return "stopped";
    }
    return "";
  }

  void print_trials(const EvalSamples& data) const {
    const Terminal terminal = terminal_of(1);
    Panel panel("graft combine --search " + values_.data.path);
    panel.row("data", data.text());
    panel.row("tried", tried_text());
    std::cout << panel.text(terminal) << "\n" << table(rows(), terminal) << std::endl;
  }

  /// What is told of the result, and the search; only that where the adapter cannot be written.
  void print_json(io::Json result, const EvalSamples& data) const {
    result["search"] = json(data);
    std::cout << io::to_text(result) << std::endl;
  }

  std::string tried_text() const {
    const std::string tried =
        counted(std::ranges::count_if(found_.trials,
                                      [](const auto& trial) { return trial.method.has_value(); }),
                "combination");
    switch (found_.end) {
      case train::SearchEnd::exhausted:
        return tried;
      case train::SearchEnd::limit:
        return tried + ", as many as --search-limit allows";
      case train::SearchEnd::stopped:
        return tried + ", then a signal ended the search";
    }
    return tried;
  }

  std::vector<std::vector<std::string>> rows() const {
    std::vector<std::vector<std::string>> rows = {{"method", "density"}};
    for (const std::string& name : names_)
      rows[0].push_back(shown(name));
    for (const char* title : {"rank", "loss", "perplexity"})
      rows[0].emplace_back(title);
    for (const train::CombineTrial& trial : found_.trials) {
      const bool is_combined = trial.method.has_value();
      const bool is_pruned = is_combined && trial.method->density;
      std::vector<std::string> row = {method_text(trial),
                                      is_pruned ? number_text(*trial.method->density) : "-"};
      for (const double weight : trial.weights)
        row.push_back(is_combined ? number_text(weight) : "-");
      row.push_back(is_combined ? std::to_string(trial.rank) : "-");
      const bool has_loss = trial.failure.empty();
      row.push_back(has_loss ? fixed_text(trial.loss, 4) : "not finite");
      row.push_back(has_loss ? number_text(std::exp(trial.loss)) : "-");
      rows.push_back(std::move(row));
    }
    return rows;
  }

  const CombineFlags& values_;
  const std::vector<AdapterName>& adapters_;
  const AdapterFolder folder_;
  const train::CombineSearchOptions options_;
  const Terminal terminal_ = terminal_of(2);
  std::vector<std::string> names_;
  train::CombineSearch found_;
  CombineResult result_;
};

}  // namespace

ExitCode search_combination(const CombineFlags& values, const std::vector<AdapterName>& adapters) {
  return CombinationSearch(values, adapters).run();
}

}  // namespace graft::cli
