// Tying: a head that shares the embedding's matrix, and what ensure_weight_tying makes of it.
#pragma once

#include <optional>
#include <vector>

#include "graft/peft/config.h"
#include "graft/peft/matching.h"
#include "graft/peft/sites.h"

namespace graft::peft {

/// A head and the embedding whose matrix it shares.
struct Tie {
  Site embedding;
  Site head;
};
/// Nothing where the head has a matrix of its own.
std::optional<Tie> tie_of(const nn::CausalLM& model, const std::vector<Site>& sites);

/// Whether a configuration names the embedding or the head, by PEFT's rule: they are called
/// "embed_tokens" or "lm_head".
bool targets_embedding(const LoraConfig& config, const RegexMatcher& matcher);
bool saves_embedding(const LoraConfig& config);

/// What of an adapter is one for the embedding and the head.
enum class Tied { nothing, targets, copies };

/// Applies ensure_weight_tying: the embedding's path takes the place of the head in
/// modules_to_save or target_modules, as PEFT writes it. Tells `observer` where that is asked for
/// in vain, and where the two ends of a tied matrix will differ.
Tied apply_tying(LoraConfig& config, const std::optional<Tie>& tie, const RegexMatcher& matcher,
                 const Observer& observer);

}  // namespace graft::peft
