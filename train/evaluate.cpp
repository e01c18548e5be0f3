#include "graft/train/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/nn/loss.h"
#include "graft/train/batch.h"

namespace graft::train {
namespace {

/// Samples of like length next to each other, so that little is padded.
std::vector<int64_t> by_length(const text::Samples& samples) {
  std::vector<int64_t> order(static_cast<size_t>(samples.size()));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::ranges::stable_sort(order, {}, [&](int64_t index) { return samples.info(index).tokens; });
  return order;
}

/// The losses of a sample's tokens, from its row of losses of each next token.
std::vector<float> losses_of_tokens(std::span<const float> next_tokens, int64_t tokens) {
  std::vector<float> losses(static_cast<size_t>(tokens), 0.0f);
  std::copy_n(next_tokens.begin(), tokens - 1, losses.begin() + 1);
  return losses;
}

/// Writes the summed loss of each sample of the batch to its place in `sums`, and shows them.
void add_losses(const Tensor& per_token, const text::Samples& samples,
                std::span<const int64_t> picked, const EvaluateOptions& options,
                std::vector<double>& sums) {
  const auto losses = per_token.span<float>();
  const size_t width = losses.size() / picked.size();
  for (size_t row = 0; row < picked.size(); ++row) {
    const auto of_row = losses.subspan(row * width, width);
    const int64_t index = picked[row];
    sums[static_cast<size_t>(index)] = std::accumulate(of_row.begin(), of_row.end(), 0.0);
    if (options.on_sample)
      options.on_sample(index, losses_of_tokens(of_row, samples.info(index).tokens));
  }
}

/// Throws NonFiniteError where a sample's loss is not a number: it must count neither as the best
/// nor as a result.
void check_finite(const text::Samples& samples, const std::vector<double>& sums) {
  for (size_t i = 0; i < sums.size(); ++i)
    GRAFT_CHECK(std::isfinite(sums[i]), NonFiniteError, "evaluate: the loss of sample ", i + 1,
                " (line ", samples.info(static_cast<int64_t>(i)).line, " of the data) is ", sums[i],
                "; the weights or the learning rate have gone wrong");
}

}  // namespace

std::optional<Evaluation> evaluate(const nn::CausalLM& model, const text::Samples& samples,
                                   const EvaluateOptions& options) {
  check_samples("evaluate", samples, model.info().vocab_size);
  GRAFT_CHECK(options.batch_size >= 1, ConfigError, "evaluate: batch_size is ", options.batch_size,
              ", at least 1 expected");
  const NoGrad no_grad;
  nn::Context context;
  context.adapters = options.adapters;
  const std::vector<int64_t> order = by_length(samples);
  std::vector<double> sums(order.size());
  Evaluation result;
  const auto batch_size = static_cast<size_t>(options.batch_size);
  for (size_t done = 0; done < order.size();) {
    const auto part = std::span(order).subspan(done, std::min(batch_size, order.size() - done));
    const Batch batch = make_batch(samples, part);
    const nn::Loss loss = nn::causal_lm_loss(model, batch.ids, batch.labels, context);
    add_losses(loss.per_token, samples, part, options, sums);
    result.tokens += batch.tokens;
    done += part.size();
    result.samples = static_cast<int64_t>(done);
    if (options.progress && !options.progress(result.samples, samples.size()))
      return std::nullopt;
  }
  check_finite(samples, sums);
  result.loss = std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.loss);
  return result;
}

}  // namespace graft::train
