// Selection: the layers of a model that a configuration means.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/peft/config.h"
#include "graft/peft/matching.h"

namespace graft::peft {

/// Is told of what deserves attention but is no error.
using Observer = std::function<void(const std::string& warning)>;

/// A module of a model, with the seam it stands in.
struct Site {
  std::string path;
  nn::Module* module;
  /// Where the module can be replaced, if it is a linear layer; else nullptr.
  nn::Child<nn::LinearLike>* linear;
};
/// All modules below `root`, parents first, without looking into adapted layers.
std::vector<Site> sites_of(nn::Module& root);

/// A layer to be adapted.
struct SelectedLayer {
  Site site;
  int64_t r;
  double scaling;
};

struct Selection {
  /// What was given, with the targets made out: a list or a regular expression.
  LoraConfig config;
  /// In the model's order; at least one.
  std::vector<SelectedLayer> layers;
};

struct SelectionRules {
  const RegexMatcher& matcher;
  const Observer& observer;
  /// Whether an entry that matches nothing is an error. Else the observer is told.
  bool strict;
};

/// Applies a configuration to a model, changing neither. Throws ConfigError where a setting is
/// wrong, where nothing is left to adapt, where a target is no linear layer, and, where strict, for
/// every entry that matches nothing.
Selection select_layers(nn::CausalLM& model, LoraConfig config, const SelectionRules& rules);

}  // namespace graft::peft
