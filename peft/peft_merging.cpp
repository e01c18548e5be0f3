// PeftModel: merging and unloading.

#include <algorithm>
#include <utility>

#include "graft/peft/adapted_layer.h"
#include "graft/peft/peft_model.h"
#include "graft/peft/unloading.h"
#include "graft/tensor/error.h"

namespace graft::peft {

void PeftModel::merge_adapter() {
  merge_adapter(active_);
}

void PeftModel::check_mergeable(const std::vector<std::string>& names) const {
  for (const std::string& name : names)
    GRAFT_CHECK(
        !entry(name).config.alora_invocation_tokens, ConfigError, "merge: \"", name,
        "\" has alora_invocation_tokens: it applies from these tokens of a text on, which no "
        "weight can; use it as an adapter");
}

void PeftModel::merge_adapter(const std::vector<std::string>& names, const MergeOptions& options) {
  check_mergeable(names);
  for (const std::string& name : names) {
    if (is_merged(name))
      warn(concat("merge_adapter: \"", name, "\" is merged already"));
  }
  std::vector<std::string> all = merged_;
  all.insert(all.end(), names.begin(), names.end());
  all = in_order(all);
  if (all == merged_)
    return;
  std::vector<std::string> together = all;  // in a forward that names none
  together.insert(together.end(), active_.begin(), active_.end());
  check_copies("merge_adapter", in_order(together));
  std::vector<std::pair<AdaptedLayer*, std::unique_ptr<nn::Module>>> layers;
  for (const Site& site : sites_of(base_)) {
    if (AdaptedLayer* layer = adapted_layer(*site.module))
      layers.emplace_back(
          layer, layer->make_merged({.names = all, .path = site.path, .options = options}));
  }
  for (auto& [layer, merged] : layers)
    layer->set_merged(all, std::move(merged));
  merged_ = std::move(all);
}

void PeftModel::unmerge_adapter() {
  for (const Site& site : sites_of(base_)) {
    if (AdaptedLayer* layer = adapted_layer(*site.module))
      layer->set_merged({}, nullptr);
  }
  merged_.clear();
}

nn::CausalLM& PeftModel::merge_and_unload() {
  return merge_and_unload(active_);
}

nn::CausalLM& PeftModel::merge_and_unload(const std::vector<std::string>& names,
                                          const MergeOptions& options) {
  check_mergeable(names);
  std::vector<std::string> all = merged_;
  all.insert(all.end(), names.begin(), names.end());
  all = in_order(all);
  check_copies("merge_and_unload", all);
  Unloading unloading(base_, all, options);
  unloading.commit();
  return unload();
}

nn::CausalLM& PeftModel::unload() {
  merged_.clear();
  active_.clear();
  for (const Entry& entry : adapters_)
    remove_adapter(base_, entry.name);
  adapters_.clear();
  return base_;
}

}  // namespace graft::peft
