// Sampler: from logits to a token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graft/models/generate.h"

namespace graft::models {

/// Picks tokens as the options say. Keeps no state between picks but its working memory.
class Sampler {
 public:
  /// Throws ConfigError where temperature, top_k or top_p is out of range.
  explicit Sampler(const GenerateOptions& options);

  /// The token of step `step` (from 0) of row `row`. Throws NonFiniteError where a logit is NaN or
  /// infinite.
  int64_t pick(std::span<const float> logits, int64_t row, int64_t step);

 private:
  struct Candidate {
    double weight;  ///< exp((logit - largest) / temperature)
    int64_t id;
  };
  void keep_top_k(std::span<const float> logits);
  void keep_top_p();

  double temperature_, top_p_;
  int64_t top_k_;
  uint64_t seed_;
  int64_t first_row_;
  std::vector<Candidate> candidates_;
  std::vector<float> sorted_;
};

}  // namespace graft::models
