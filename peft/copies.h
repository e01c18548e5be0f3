// Copies: the parameters of the base model of which an adapter brings its own.
//
// modules_to_save, bias and trainable_token_indices all come to this. The copies override the
// model's parameters where the adapter applies; the model keeps its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graft/peft/config.h"
#include "graft/peft/matching.h"
#include "graft/peft/sites.h"
#include "graft/peft/tying.h"

namespace graft::peft {

/// Why there is a copy.
enum class CopyKind { saved_module, bias, tokens };

struct SelectedCopy {
  CopyKind kind;
  std::string module;     ///< path of the module that is meant
  std::string parameter;  ///< path of the parameter from there
  nn::Member* member;
  /// The files of the model hold its transpose, and so does the adapter's.
  bool is_transposed = false;
  /// Of tokens: the rows that are copied.
  std::vector<int64_t> rows{};
  /// The number of an earlier copy in the list that this parameter uses too; -1 for none.
  int64_t same_as = -1;
};

struct CopyRules {
  const RegexMatcher& matcher;
  const Observer& observer;
  /// Whether a name that matches nothing is an error. Else the observer is told.
  bool strict;
};

/// The copies a configuration calls for. `adapted` are the sites that get low-rank matrices,
/// `tied` is what apply_tying said. Throws ConfigError where a module is to be both adapted and
/// copied, where two settings ask for the same copy, where ids are beyond the table, and, where
/// strict, for names that match nothing.
std::vector<SelectedCopy> select_copies(const LoraConfig& config, const std::vector<Site>& sites,
                                        const std::vector<const Site*>& adapted,
                                        const std::optional<Tie>& tie, Tied tied,
                                        const CopyRules& rules);

}  // namespace graft::peft
