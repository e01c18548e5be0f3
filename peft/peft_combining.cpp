// PeftModel: one adapter made of several.

#include <algorithm>
#include <utility>

#include "graft/peft/combined_adapter.h"
#include "graft/peft/merge.h"
#include "graft/peft/peft_model.h"
#include "graft/peft/site_delta.h"
#include "graft/tensor/embedding.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

/// The copy that the combination has of a parameter of the base, or of rows of it:
/// base + Σ weight · (copy - base).
Tensor combined_copy(const AdapterTensor& tensor, const std::vector<CombineInput>& inputs,
                     Compat compat) {
  const Tensor base = overridden_value(*tensor.copied, {});
  Tensor sum = base;
  for (const CombineInput& input : inputs) {
    const nn::Override* copy = tensor.copied->overrides()->find(input.name);
    if (copy == nullptr || compat == Compat::peft)
      continue;
    const Tensor changed = overridden_value(*tensor.copied, {copy});
    const bool is_copy_alone = input.weight == 1 && sum.storage() == base.storage();
    sum = is_copy_alone ? changed  // base + (copy - base) would be rounded
                        : ops::add(sum, ops::add(changed, base, -1), input.weight);
  }
  if (tensor.rows.defined())
    sum = ops::embedding(sum, tensor.rows);
  return tensor.is_transposed ? sum.transpose(0, 1).contiguous() : sum.clone();
}

/// Two whole modules cannot be one in PEFT.
void check_whole_copies(const std::vector<CombineInput>& inputs, nn::CausalLM& base) {
  for (const nn::NamedMember& parameter : base_parameters(base)) {
    const nn::Override* found = nullptr;
    for (const CombineInput& input : inputs) {
      const nn::Override* copy = parameter.member->overrides()->find(input.name);
      if (copy == nullptr || !copy->is_whole())
        continue;
      GRAFT_CHECK(found == nullptr, ConfigError, "combine: \"", found->adapter, "\" and \"",
                  copy->adapter, "\" both bring a copy of ", parameter.path,
                  ", which PEFT refuses; without compat they are weighted");
      found = copy;
    }
  }
}

}  // namespace

std::vector<CombineInput> PeftModel::combine_inputs(const std::vector<std::string>& adapters,
                                                    const std::vector<double>& weights,
                                                    const CombineOptions& options) const {
  validate(options);
  GRAFT_CHECK(adapters.size() == weights.size(), ConfigError, "combine: ", weights.size(),
              " weights are given for ", adapters.size(), " adapters; one for each expected");
  std::vector<CombineInput> inputs;
  for (size_t i = 0; i < adapters.size(); ++i) {
    const Entry& added = entry(adapters[i]);
    inputs.push_back({added.name, weights[i], added.config, added.modules});
  }
  check_inputs(inputs, options);
  if (options.compat == Compat::peft)
    check_whole_copies(inputs, base_);
  return inputs;
}

void PeftModel::check_combination(const std::vector<std::string>& adapters,
                                  const std::vector<double>& weights,
                                  const CombineOptions& options) const {
  combine_inputs(adapters, weights, options);
}

CombineReport PeftModel::add_weighted_adapter(const std::vector<std::string>& adapters,
                                              const std::vector<double>& weights,
                                              const std::string& adapter_name,
                                              const CombineOptions& options) {
  check_new_name(adapter_name);
  const std::vector<CombineInput> inputs = combine_inputs(adapters, weights, options);
  const CombineOptions used = options_for(inputs, options);
  const int64_t rank = combined_rank(inputs, used);

  const Selection selection = select(combined_config(inputs, rank, used.compat), false);
  AdapterDraft draft(selection, adapter_name);
  CombinedAdapter combined(inputs, used, rank);
  for (const SelectedLayer& layer : selection.layers) {
    if (layer.is_tied)
      continue;
    LayerDeltas deltas{
        .path = layer.site.path, .is_embedding = layer.site.embedding != nullptr, .deltas = {}};
    for (const std::string& adapter : adapters)
      deltas.deltas.push_back(delta_at(layer.site, adapter));
    combined.add_layer(deltas, selection.config.lora_bias);
  }
  std::vector<Tensor> values;
  for (const AdapterTensor& tensor : draft.tensors()) {
    if (tensor.is_repeated)
      values.emplace_back();
    else
      values.push_back(tensor.copied != nullptr ? combined_copy(tensor, inputs, used.compat)
                                                : combined.tensors().at(tensor.key));
  }
  set_file_values(draft.tensors(), values);
  put_on(selection, draft,
         {.name = adapter_name, .config = selection.config, .modules = {}, .tensors = {}});
  return combined.report();
}

}  // namespace graft::peft
