// Unloading: adapters become part of the base model.
//
// Made in two steps, so that a model that cannot take them stays as it is: the constructor works
// out everything, commit() puts it in place.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/peft/merge.h"
#include "graft/peft/sites.h"
#include "graft/peft/tying.h"

namespace graft::peft {

class Unloading {
 public:
  /// What `base` is to become with the adapters of these names in it. Throws NonFiniteError, and
  /// ConfigError where an adapter would give a bias to a layer that has none.
  Unloading(nn::CausalLM& base, std::vector<std::string> names, MergeOptions options = {});
  /// Replaces layers and numbers of the base. Its adapted layers are gone afterwards.
  void commit();

 private:
  struct Layer {
    Site site;
    std::unique_ptr<nn::Module> merged;  ///< nullptr: the base layer stays
    /// What streamed sums hold on to: the adapted layer, once it is replaced.
    std::shared_ptr<std::unique_ptr<nn::Module>> kept;
  };
  struct Number {
    std::string path;
    nn::Member* parameter;
    Tensor value;
    bool was_packed;
  };

  void merge_layers();
  void take_copies();
  bool is_in_merged_layer(const std::string& path) const;
  /// The matrix that the layer at a path comes to have; undefined where it keeps its own.
  Tensor new_weight(const std::string& path) const;
  void load(const Number& number);
  void settle_tie();

  nn::CausalLM& base_;
  const std::vector<std::string> names_;
  const MergeOptions options_;
  std::optional<Tie> tie_;
  bool stays_tied_ = true;  // head and embedding, where they were
  std::vector<Layer> layers_;
  std::vector<Number> numbers_;
};

}  // namespace graft::peft
