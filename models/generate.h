// Generation: a batch of prompts is continued token by token, with a cache of keys and values.
//
//   const auto rows = models::generate(*model, {ids}, {.max_new_tokens = 64, .stop_ids = {2}});
//
// A row's tokens depend on its prompt, the options and its number only, not on the other rows (with
// weights in 4 bits but for the rounding of sums, which differs between up to eight and more): each
// row keeps its own length in the cache, and random numbers are a function of (seed, row, step).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "graft/nn/causal_lm.h"

namespace graft::models {

/// What a caller that was shown a token wants next.
enum class Verdict {
  go_on,
  end_row,  ///< this row is finished, e.g. its text ends with a stop string
  cancel,   ///< all rows are
};

/// Why a row ended.
enum class StopReason {
  stop_id,    ///< one of `stop_ids` was sampled
  length,     ///< max_new_tokens, or the positions the model has
  caller,     ///< on_token said end_row
  cancelled,  ///< on_token said cancel
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  /// 0 takes the likeliest token (the lowest id of equals) and ignores top_k and top_p.
  double temperature = 0;
  /// Keeps the k likeliest tokens; 0 keeps all.
  int64_t top_k = 0;
  /// Keeps the fewest likeliest tokens whose probabilities sum to at least top_p; 1 keeps all.
  double top_p = 1;
  uint64_t seed = 0;
  /// Number of the first prompt, where prompts are given in several calls: row i draws the random
  /// numbers of row first_row + i.
  int64_t first_row = 0;
  /// A token that ends its row. It is neither shown nor returned.
  std::vector<int64_t> stop_ids{};
  /// Shows each token as it is sampled; rows are numbered from 0. Unset: always go_on.
  std::function<Verdict(int64_t row, int64_t token)> on_token{};
  /// Unset: the model's default selection. Where prompts differ in their adapter, by_row names one
  /// for each.
  std::optional<nn::AdapterSelection> adapters{};
};

/// What one prompt was continued with.
struct Continuation {
  std::vector<int64_t> ids;  ///< the new tokens
  StopReason reason = StopReason::length;
};

/// Continues each prompt, of any length of at least one token; one result per prompt. Temperature,
/// top-k and top-p are applied in this order, as transformers does. Throws ConfigError for options
/// out of range and for prompts that are empty, longer than the model's positions, or hold an id
/// outside the vocabulary.
std::vector<Continuation> generate(const nn::CausalLM& model,
                                   const std::vector<std::vector<int64_t>>& prompts,
                                   const GenerateOptions& options = {});

}  // namespace graft::models
