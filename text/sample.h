// Sample: one training example as the trainer takes it. Plain data without a source file, so that
// graft-core can use it without linking graft-text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace graft::text {

/// The label of a token that carries no loss.
inline constexpr int64_t no_label = -100;

/// Token ids with the token each position stands for as label: labels[i] is input_ids[i] or
/// no_label. The shift by one (position i predicts token i + 1) happens inside the loss.
struct Sample {
  std::vector<int64_t> input_ids;
  std::vector<int64_t> labels;
  /// Line of the data file the sample comes from, counted from 1; 0 where it comes from none.
  int64_t line = 0;
};

/// Labels that count: those at positions 1, 2, … that are not no_label. The first token of a sample
/// is never predicted.
inline int64_t count_trained_tokens(const Sample& sample) {
  int64_t count = 0;
  for (size_t i = 1; i < sample.labels.size(); ++i)
    count += sample.labels[i] != no_label;
  return count;
}

}  // namespace graft::text
