// Score: how many of several records a model got right, with the standard error of their share.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace graft::train {

struct Score {
  int64_t correct = 0;
  int64_t records = 0;

  /// Their share.
  double mean() const;
  /// sqrt(p (1 - p) / (n - 1)): how far the share of n records lies from that of all such records,
  /// as lm-eval reports it. Nothing where there is one record only.
  std::optional<double> standard_error() const;
};

/// Counts what is true.
Score score_of(const std::vector<bool>& correct);

}  // namespace graft::train
