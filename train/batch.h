// Batch: several samples as tensors, padded on the right.
//
// Padding has no label, and a causal model lets no token see what is right of it, so nothing
// depends on the padding and no attention mask is needed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/nn/context.h"
#include "graft/text/sample.h"
#include "graft/train/sampler.h"

namespace graft::train {

struct Batch {
  Tensor ids;          ///< (B,T) i64, T the longest sample; 0 where padded
  Tensor labels;       ///< (B,T) i64, aligned with ids; -100 where there is no loss
  Tensor place;        ///< (B·T) i64: each token's sample, by its place in the epoch
  Tensor position;     ///< (B·T) i64: each token's position in its sample
  int64_t tokens = 0;  ///< tokens with a loss: labels at positions 1, 2, … that are not -100
  int64_t input_tokens = 0;        ///< tokens without padding
  std::vector<std::string> names;  ///< of the samples, for messages: see name_of

  /// The context of a training forward of this batch. `step` counts optimizer steps from 0.
  nn::Context training_context(uint64_t seed, int64_t step, bool checkpoint_blocks) const;
};

/// The picked samples, in that order.
Batch make_batch(std::span<const text::Sample> samples, std::span<const Pick> picks);

/// "line 12" of the data file, or "sample 12" of the list, from 0, where no line is known.
std::string name_of(const text::Sample& sample, int64_t index);

/// Labels that count: those at positions 1, 2, … that are not -100.
int64_t count_trained_tokens(const text::Sample& sample);

/// Throws ConfigError naming the first sample (by its line, else its index) that is empty, whose
/// labels are not as many as its ids, that has an id or label outside [0, vocab_size), or that has
/// nothing to learn. `what` names the list in the message: "training data".
void check_samples(std::string_view what, std::span<const text::Sample> samples,
                   int64_t vocab_size);

}  // namespace graft::train
