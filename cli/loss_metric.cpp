#include "graft/cli/loss_metric.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/stream_decoder.h"

namespace graft::cli {
namespace {

/// Mean over the tokens that carry loss.
double mean_of(const std::vector<float>& losses, int64_t tokens) {
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(tokens);
}

}  // namespace

LossMetric::LossMetric(const EvalFlags& flags, const std::filesystem::path& file,
                       const text::Tokenizer* tokenizer, const nn::ModelInfo& info)
    : flags_(flags), tokenizer_(tokenizer), data_(flags.data, flags.limit, file, tokenizer, info) {}

bool LossMetric::measure(const nn::CausalLM& model) {
  Measured measured;
  train::EvaluateOptions options;
  options.batch_size = flags_.batch_size;
  options.progress = [](int64_t done, int64_t total) {
    show_measured(done, total, "sample");
    return !stop_requested();
  };
  if (flags_.wants_records()) {
    measured.losses.resize(static_cast<size_t>(records()));
    options.on_sample = [&](int64_t index, std::span<const float> losses) {
      measured.losses[static_cast<size_t>(index)].assign(losses.begin(), losses.end());
    };
  }
  const auto evaluation = train::evaluate(model, data_.samples(), options);
  hide_measured();
  if (!evaluation)
    return false;
  measured.evaluation = *evaluation;
  measured_.push_back(std::move(measured));
  return true;
}

std::vector<std::pair<std::string, std::string>> LossMetric::heading() const {
  return {{"data", data_.text()}};
}

std::string LossMetric::text(size_t which) const {
  const train::Evaluation& evaluation = measured_.at(which).evaluation;
  return "loss " + fixed_text(evaluation.loss, 4) + ", perplexity " +
         number_text(evaluation.perplexity);
}

std::string LossMetric::difference() const {
  return fixed_text(measured_.at(0).evaluation.loss - measured_.at(1).evaluation.loss, 4);
}

io::Json LossMetric::json(size_t which) const {
  const train::Evaluation& evaluation = measured_.at(which).evaluation;
  return {{"loss", evaluation.loss},
          {"perplexity", evaluation.perplexity},
          {"tokens", evaluation.tokens},
          {"samples", evaluation.samples}};
}

/// The text of each token; a character of several tokens stands with the last of them.
std::vector<std::string> LossMetric::pieces_of(const text::Sample& sample) const {
  text::StreamDecoder decoder(*tokenizer_, false);
  std::vector<std::string> pieces;
  for (const int64_t id : sample.input_ids)
    pieces.push_back(decoder.push(id));
  if (!pieces.empty())
    pieces.back() += decoder.finish();
  return pieces;
}

io::Json LossMetric::record(int64_t index) const {
  const text::Sample sample = data_.samples().sample(index);
  const int64_t trained = text::count_trained_tokens(sample);
  const std::vector<std::string> pieces =
      tokenizer_ != nullptr ? pieces_of(sample) : std::vector<std::string>{};
  const auto losses = [&](size_t which) -> const std::vector<float>& {
    return measured_.at(which).losses.at(static_cast<size_t>(index));
  };
  const bool has_base = measured_.size() > 1;
  io::Json tokens = io::Json::array();
  for (size_t t = 0; t < sample.input_ids.size(); ++t) {
    const bool learnt = t > 0 && sample.labels[t] != text::no_label;
    const auto loss = [&](size_t which) {
      return learnt ? io::Json(losses(which)[t]) : io::Json();
    };
    io::Json token = {{"id", sample.input_ids[t]}};
    if (tokenizer_ != nullptr)
      token["text"] = pieces[t];
    token["loss"] = loss(0);
    if (has_base)
      token["base_loss"] = loss(1);
    tokens.push_back(std::move(token));
  }
  io::Json record = {{"line", sample.line}, {"loss", mean_of(losses(0), trained)}};
  if (has_base)
    record["base_loss"] = mean_of(losses(1), trained);
  record["trained_tokens"] = trained;
  record["tokens"] = std::move(tokens);
  return record;
}

}  // namespace graft::cli
