// Selection: what of a model a configuration means.
#pragma once

#include <cstdint>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/peft/config.h"
#include "graft/peft/copies.h"
#include "graft/peft/matching.h"
#include "graft/peft/sites.h"

namespace graft::peft {

/// A layer to be adapted: a linear one or an embedding.
struct SelectedLayer {
  Site site;
  int64_t r;
  double scaling;
  /// The head, which uses the matrices of the adapter on the embedding.
  bool is_tied = false;
};

struct Selection {
  /// What was given, with the targets made out: a list or a regular expression.
  LoraConfig config;
  /// In the model's order, a tied head at the end; at least one.
  std::vector<SelectedLayer> layers;
  /// Parameters of the base model that the adapter has copies of.
  std::vector<SelectedCopy> copies;
};

struct SelectionRules {
  const RegexMatcher& matcher;
  const Observer& observer;
  /// Whether an entry that matches nothing is an error. Else the observer is told.
  bool strict;
};

/// Applies a configuration to a model, changing neither. Throws ConfigError where a setting is
/// wrong, where nothing is left to adapt, where a target is neither a linear layer nor an
/// embedding, and, where strict, for every entry that matches nothing.
Selection select_layers(nn::CausalLM& model, LoraConfig config, const SelectionRules& rules);

}  // namespace graft::peft
