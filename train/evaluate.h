// Evaluation: the mean loss of a model on samples.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "graft/nn/causal_lm.h"
#include "graft/text/sample_source.h"

namespace graft::train {

struct Evaluation {
  double loss = 0;        ///< Σ -log p(label) / tokens
  double perplexity = 0;  ///< exp(loss)
  int64_t tokens = 0;     ///< tokens with a loss
  int64_t samples = 0;
};

struct EvaluateOptions {
  int64_t batch_size = 4;
  /// Which adapters apply; unset: the model's default selection; empty: the base alone.
  std::optional<nn::AdapterSelection> adapters{};
  /// Called after each batch with the samples done and their number; returns false to give up.
  std::function<bool(int64_t done, int64_t total)> progress{};
  /// Called once for each sample, in no particular order, with its number in the samples and for
  /// each of its tokens -log p(token | those before), 0 where it carries no loss. What the sample's
  /// loss is summed from.
  std::function<void(int64_t index, std::span<const float> losses)> on_sample{};
};

/// Runs the model over all samples, without dropout and without gradients. Every token weighs the
/// same, and sums are made in f64 in the order of the samples: but for rounding inside the forward
/// the result does not depend on the batch size. Nothing where `progress` gave up. Throws
/// ConfigError where no sample has a loss or one does not fit the model (see check_samples).
std::optional<Evaluation> evaluate(const nn::CausalLM& model, const text::Samples& samples,
                                   const EvaluateOptions& options = {});

}  // namespace graft::train
