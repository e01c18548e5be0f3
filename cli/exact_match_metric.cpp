#include "graft/cli/exact_match_metric.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

/// The prompts' numbers, the longest first: a batch then has prompts of like length, and the one
/// that needs most memory comes first.
std::vector<size_t> by_length(const std::vector<text::Prompt>& prompts) {
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [&](size_t index) { return prompts[index].ids.size(); });
  return order;
}

}  // namespace

ExactMatchMetric::ExactMatchMetric(const EvalFlags& flags, const std::filesystem::path& file,
                                   const text::Tokenizer& tokenizer, const nn::ModelInfo& info)
    : flags_(flags),
      tokenizer_(tokenizer),
      path_(file.string()),
      prompter_(tokenizer, {.raw = flags.data.raw,
                            .template_variables = template_variables(flags.data.chat_template)}),
      match_(flags.match),
      file_(text::read_prompts(file, prompter_,
                               {.with_reference = true,
                                .columns = dataset_options(flags.data, info.vocab_size).columns,
                                .limit = flags.limit,
                                .positions = info.max_positions})) {
  for (size_t i = 0; i < file_.prompts.size(); ++i) {
    std::optional<std::string> expected = compared(*file_.prompts[i].reference, i);
    if (!expected)
      throw FormatError::at_line(path_, file_.prompts[i].line,
                                 concat("the expected answer has nothing that --answer-pattern '",
                                        flags.match.answer_pattern, "' finds"));
    expected_.push_back(*std::move(expected));
  }
}

/// What is compared of a text that belongs to the prompt `index`.
std::optional<std::string> ExactMatchMetric::compared(const std::string& text, size_t index) const {
  try {
    return match_.compared(text);
  } catch (const ConfigError& error) {  // too many steps
    throw FormatError::at_line(path_, file_.prompts[index].line, error.what());
  }
}

bool ExactMatchMetric::measure(const nn::CausalLM& model) {
  Measured measured{.answers = std::vector<Answer>(file_.prompts.size())};
  const std::vector<size_t> order = by_length(file_.prompts);
  const auto batch_size = static_cast<size_t>(flags_.batch_size);
  for (size_t done = 0; done < order.size();) {
    show_measured(static_cast<int64_t>(done), records(), "record");
    const auto part = std::span(order).subspan(done, std::min(batch_size, order.size() - done));
    Prompts batch{.ids = {}, .goes_on = !prompter_.uses_template()};
    for (const size_t index : part)
      batch.ids.push_back(file_.prompts[index].ids);
    Answers result = answer(model, tokenizer_, batch, flags_.answer, {}, [](auto, const auto&) {});
    for (size_t row = 0; row < part.size(); ++row)
      measured.answers[part[row]] = std::move(result.answers[row]);
    done += part.size();
    if (stop_requested())
      break;
  }
  hide_measured();
  if (stop_requested())
    return false;
  judge(measured);
  measured_.push_back(std::move(measured));
  return true;
}

void ExactMatchMetric::judge(Measured& measured) const {
  for (size_t i = 0; i < measured.answers.size(); ++i) {
    const Answer& answer = measured.answers[i];
    measured.compared.push_back(compared(answer.text, i));
    measured.correct.push_back(measured.compared[i] == expected_[i]);
    measured.cut += answer.reason == models::StopReason::length;
    measured.unmatched += !measured.compared[i].has_value();
  }
}

std::vector<std::pair<std::string, std::string>> ExactMatchMetric::heading() const {
  std::string what;
  const auto add = [&](const std::string& part) { what += (what.empty() ? "" : ", ") + part; };
  if (!flags_.match.answer_pattern.empty())
    add("what '" + shown(flags_.match.answer_pattern) + "' finds");
  else
    add("the whole answer");
  for (const std::string& pattern : flags_.match.ignored_patterns)
    add("without '" + shown(pattern) + "'");
  if (flags_.match.ignore_case)
    add("without case");
  if (flags_.match.ignore_punctuation)
    add("without punctuation");
  return {{"data", concat(text::name_of(*file_.format), ", ") + counted(records(), "record") +
                       (prompter_.uses_template() ? ", through the model's chat template"
                                                  : ", without a chat template")},
          {"compared", what}};
}

std::string ExactMatchMetric::text(size_t which) const {
  const Measured& measured = measured_.at(which);
  std::string text = "exact match " + score_text(train::score_of(measured.correct));
  if (measured.unmatched > 0)
    text += "; in " + counted(measured.unmatched, "answer") + " the pattern finds nothing";
  if (measured.cut > 0)
    text += "; " + counted(measured.cut, "answer") + " cut at --max-new-tokens " +
            grouped(flags_.answer.max_new_tokens) + " or the model's last position";
  return text;
}

std::string ExactMatchMetric::difference() const {
  return score_difference(measured_.at(0).correct, measured_.at(1).correct);
}

io::Json ExactMatchMetric::json(size_t which) const {
  const Measured& measured = measured_.at(which);
  const train::Score score = train::score_of(measured.correct);
  io::Json json;
  add_score(json, "exact_match", score);
  json["correct"] = score.correct;
  json["records"] = score.records;
  json["unmatched"] = measured.unmatched;
  json["cut"] = measured.cut;
  return json;
}

io::Json ExactMatchMetric::answer_json(const Measured& measured, size_t index) const {
  const std::optional<std::string>& compared = measured.compared.at(index);
  const Answer& answer = measured.answers.at(index);
  return {{"prediction", answer.text},
          {"compared", compared ? io::Json(*compared) : io::Json()},
          {"correct", static_cast<bool>(measured.correct.at(index))},
          {"stop_reason", name(answer.reason)}};
}

io::Json ExactMatchMetric::record(int64_t index) const {
  const auto place = static_cast<size_t>(index);
  const text::Prompt& prompt = file_.prompts.at(place);
  io::Json record = {{"line", prompt.line},
                     {"prompt", prompt.text},
                     {"reference", *prompt.reference},
                     {"expected", expected_.at(place)}};
  record.update(answer_json(measured_.at(0), place));
  if (measured_.size() > 1)
    record["base"] = answer_json(measured_.at(1), place);
  return record;
}

}  // namespace graft::cli
