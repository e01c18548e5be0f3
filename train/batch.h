// Batch: several samples as tensors, padded on the right.
//
// A row holds one sample, or several where they are packed; those are segments that do not see each
// other. Padding has no label, and a causal model lets no token see what is right of it, so nothing
// depends on the padding and no attention mask is needed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/nn/context.h"
#include "graft/text/sample_source.h"
#include "graft/train/rows.h"

namespace graft::train {

using text::count_trained_tokens;

struct Batch {
  Tensor ids;       ///< (B,T) i64, T the longest row; 0 where padded
  Tensor labels;    ///< (B,T) i64, aligned with ids; -100 where there is no loss
  Tensor sample;    ///< (B·T) i64: each token's sample, by its number in the data
  Tensor position;  ///< (B·T) i64: each token's position in its sample
  Tensor
      segments{};  ///< (B,T) i64: each token's sample in its row; undefined where none has several
  int64_t tokens = 0;              ///< tokens with a loss: see count_trained_tokens
  int64_t input_tokens = 0;        ///< tokens without padding
  std::vector<std::string> names;  ///< of the samples of each row, for messages: see name_of

  /// Positions and segments of a forward.
  nn::Context context() const;
  /// The context of a training forward. `step` counts optimizer steps from 0.
  nn::Context training_context(uint64_t seed, int64_t step, bool checkpoint_blocks) const;
};

/// These rows, in that order.
Batch make_batch(const text::Samples& samples, const Rows& rows, std::span<const int64_t> picked);
/// These samples, in that order, each in a row of its own.
Batch make_batch(const text::Samples& samples, std::span<const int64_t> picked);

/// "line 12" of the data file, or "sample 12" of the list, from 0, where no line is known.
std::string name_of(const text::SampleInfo& sample, int64_t index);

/// Throws ConfigError naming the first sample (by its line, else its index) that is empty, whose
/// labels are not as many as its ids, that has an id or label outside [0, vocab_size), or that has
/// nothing to learn. Of a source, which has checked its samples, only the ids' limit is looked at.
/// `what` names the samples in the message: "training data".
void check_samples(std::string_view what, const text::Samples& samples, int64_t vocab_size);

}  // namespace graft::train
