#include "graft/cli/choice_metric.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/train/evaluate.h"

namespace graft::cli {
namespace {

/// Of equals the first one.
size_t largest(const std::vector<double>& values) {
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

/// Characters of a valid text, as Python counts them.
double characters(const std::string& text) {
  return static_cast<double>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

ChoiceMetric::ChoiceMetric(const EvalFlags& flags, const std::filesystem::path& file,
                           const text::Tokenizer& tokenizer, const nn::ModelInfo& info)
    : flags_(flags),
      prompter_(tokenizer, {.raw = flags.data.raw,
                            .template_variables = template_variables(flags.data.chat_template)}),
      file_(text::read_choices(file, tokenizer, prompter_,
                               {.columns = dataset_options(flags.data, info.vocab_size).columns,
                                .limit = flags.limit,
                                .delimiter = flags.target_delimiter})) {
  warn_of_long_inputs(file.string(), lengths_of(file_.samples), info.max_positions,
                      "the likelihood of what stands beyond means little");
}

bool ChoiceMetric::measure(const nn::CausalLM& model) {
  Measured measured{.log_likelihoods = std::vector<double>(file_.samples.size())};
  train::EvaluateOptions options;
  options.batch_size = flags_.batch_size;
  options.progress = [](int64_t done, int64_t total) {
    show_measured(done, total, "choice");
    return !stop_requested();
  };
  options.on_sample = [&](int64_t index, std::span<const float> losses) {
    measured.log_likelihoods[static_cast<size_t>(index)] =
        -std::accumulate(losses.begin(), losses.end(), 0.0);
  };
  const auto evaluation = train::evaluate(model, file_.samples, options);
  hide_measured();
  if (!evaluation)
    return false;
  judge(measured);
  measured_.push_back(std::move(measured));
  return true;
}

void ChoiceMetric::judge(Measured& measured) const {
  for (const text::ChoiceQuestion& question : file_.questions) {
    std::vector<double> sums, per_character;
    for (size_t i = 0; i < question.choices.size(); ++i) {
      sums.push_back(measured.log_likelihoods[question.first + i]);
      per_character.push_back(sums[i] / characters(question.choices[i]));
    }
    measured.pick.push_back(largest(sums));
    measured.pick_norm.push_back(largest(per_character));
    measured.correct.push_back(measured.pick.back() == question.gold);
    measured.correct_norm.push_back(measured.pick_norm.back() == question.gold);
  }
}

std::vector<std::pair<std::string, std::string>> ChoiceMetric::heading() const {
  return {{"data", counted(records(), "question") + " with " +
                       counted(std::ssize(file_.samples), "choice") +
                       (prompter_.uses_template() ? ", through the model's chat template"
                                                  : ", without a chat template")}};
}

std::string ChoiceMetric::text(size_t which) const {
  const Measured& measured = measured_.at(which);
  return "acc " + score_text(train::score_of(measured.correct)) + "; acc_norm " +
         score_text(train::score_of(measured.correct_norm));
}

std::string ChoiceMetric::difference() const {
  return "acc " + score_difference(measured_.at(0).correct, measured_.at(1).correct) +
         "; acc_norm " +
         score_difference(measured_.at(0).correct_norm, measured_.at(1).correct_norm);
}

io::Json ChoiceMetric::json(size_t which) const {
  const Measured& measured = measured_.at(which);
  io::Json json;
  add_score(json, "acc", train::score_of(measured.correct));
  add_score(json, "acc_norm", train::score_of(measured.correct_norm));
  json["records"] = records();
  json["choices"] = file_.samples.size();
  return json;
}

io::Json ChoiceMetric::pick_json(const Measured& measured, size_t index) const {
  const text::ChoiceQuestion& question = file_.questions.at(index);
  const auto first = measured.log_likelihoods.begin() + static_cast<int64_t>(question.first);
  return {{"log_likelihoods", std::vector<double>(first, first + std::ssize(question.choices))},
          {"pick", measured.pick.at(index)},
          {"pick_norm", measured.pick_norm.at(index)},
          {"correct", static_cast<bool>(measured.correct.at(index))},
          {"correct_norm", static_cast<bool>(measured.correct_norm.at(index))}};
}

io::Json ChoiceMetric::record(int64_t index) const {
  const auto place = static_cast<size_t>(index);
  const text::ChoiceQuestion& question = file_.questions.at(place);
  io::Json record = {{"line", question.line},
                     {"prompt", question.context},
                     {"choices", question.choices},
                     {"gold", question.gold}};
  record.update(pick_json(measured_.at(0), place));
  if (measured_.size() > 1)
    record["base"] = pick_json(measured_.at(1), place);
  return record;
}

}  // namespace graft::cli
