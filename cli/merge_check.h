// What graft merge --verify does: the logits of the merged model beside those of model and adapters
// apart.
#pragma once

#include <cstdint>

#include "graft/nn/causal_lm.h"
#include "graft/peft/peft_model.h"

namespace graft::cli {

/// How far a merged model is from model and adapters.
struct Verification {
  double difference = 0;  ///< largest difference of a logit from model and adapters apart
  double effect = 0;      ///< largest difference that the adapters make
  double largest = 0;     ///< largest logit
  double lost = 0;  ///< ‖difference‖ / ‖what the adapters make‖ of all logits; 1: all of it
  int64_t tokens = 0;
  int64_t agreeing = 0;  ///< tokens after which the likeliest next one is the same
};

/// The logits that a merge is to keep.
class MergeCheck {
 public:
  /// Those of the model with its active adapters, and without any, on ids from all over the
  /// vocabulary, the same for each run.
  explicit MergeCheck(peft::PeftModel& model);
  Verification compare(const nn::CausalLM& merged) const;

 private:
  Tensor ids_, apart_, base_;
};

}  // namespace graft::cli
