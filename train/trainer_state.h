// TrainerState: where a run is. All of it that is neither in the weights nor in the optimizer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "graft/train/sampler.h"

namespace graft::train {

struct TrainerState {
  int64_t step = 0;  ///< optimizer steps done
  SamplerState sampler{};
  int64_t tokens = 0;           ///< tokens with a loss seen so far
  int64_t input_tokens = 0;     ///< tokens seen so far
  int64_t evaluated_step = -1;  ///< the last one that was evaluated; -1: none
  int64_t best_step = -1;       ///< the one with the lowest evaluation loss; -1: none
  double best_loss = 0;
  int64_t without_best = 0;  ///< evaluations since the best one
  friend bool operator==(const TrainerState&, const TrainerState&) = default;
};

/// As JSON; every number reads back as the same bits.
std::string to_text(const TrainerState& state);
/// Throws FormatError where the text, which stands in `file`, is not what to_text wrote.
TrainerState parse_trainer_state(std::string_view text, std::string_view file);

}  // namespace graft::train
