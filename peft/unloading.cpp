#include "graft/peft/unloading.h"

#include <algorithm>
#include <utility>

#include "graft/peft/adapted_layer.h"
#include "graft/peft/draft.h"
#include "graft/peft/merge.h"
#include "graft/tensor/error.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.defined() && b.defined() && a.dtype() == b.dtype() &&
         std::ranges::equal(a.contiguous().bytes(), b.contiguous().bytes());
}

nn::Weight& weight_member(nn::Module& layer) {
  if (auto* linear = dynamic_cast<nn::Linear*>(&layer))
    return linear->weight();
  return static_cast<nn::Embedding&>(layer).weight();
}

DType dtype_of(nn::Member& parameter) {
  if (const auto* weight = dynamic_cast<const nn::Weight*>(&parameter))
    return weight->dtype();
  return parameter.value().dtype();
}

}  // namespace

Unloading::Unloading(nn::CausalLM& base, std::vector<std::string> names, MergeOptions options)
    : base_(base),
      names_(std::move(names)),
      options_(std::move(options)),
      tie_(tie_of(base, sites_of(base))) {
  merge_layers();
  take_copies();
  if (!tie_)
    return;
  const Tensor embedding = new_weight(tie_->embedding.path);
  const Tensor head = new_weight(tie_->head.path);
  stays_tied_ = (!embedding.defined() && !head.defined()) || same_bits(embedding, head);
}

void Unloading::merge_layers() {
  for (const Site& site : sites_of(base_)) {
    AdaptedLayer* layer = adapted_layer(*site.module);
    if (layer == nullptr)
      continue;
    const auto kept = std::make_shared<std::unique_ptr<nn::Module>>();
    std::unique_ptr<nn::Module> merged = layer->make_merged({.names = names_,
                                                             .path = site.path,
                                                             .with_overrides = true,
                                                             .options = options_,
                                                             .keep = kept});
    const nn::Linear* base = linear_of(site);
    if (auto* linear = dynamic_cast<nn::Linear*>(merged.get()))
      GRAFT_CHECK(linear->bias() == nullptr || std::as_const(*base).bias() != nullptr, ConfigError,
                  "merge_and_unload: the adapter has a bias (lora_bias) for ", site.path,
                  ", which has none in the base model and cannot be given one in its files");
    layers_.push_back({site, std::move(merged), kept});
  }
}

bool Unloading::is_in_merged_layer(const std::string& path) const {
  return std::ranges::any_of(layers_, [&](const Layer& layer) {
    return layer.merged != nullptr && path.starts_with(layer.site.path + ".");
  });
}

void Unloading::take_copies() {
  for (const nn::NamedMember& parameter : base_parameters(base_)) {
    const nn::ChosenOverrides copies = overrides_of(*parameter.member, names_);
    if (copies.empty() || is_in_merged_layer(parameter.path))
      continue;
    const DType dtype = dtype_of(*parameter.member);
    for (const nn::Override* copy : copies)
      GRAFT_CHECK(ops::all_finite(copy->value.value().to(dtype)), NonFiniteError, "the adapter \"",
                  copy->adapter, "\" has a NaN or an infinite number at ", parameter.path,
                  "; it is broken, and nothing was changed");
    const Tensor value = overridden_value(*parameter.member, copies).to(dtype).clone();
    numbers_.push_back(
        {parameter.path, parameter.member, value, parameter.member->variable() == nullptr});
  }
}

Tensor Unloading::new_weight(const std::string& path) const {
  for (const Layer& layer : layers_) {
    if (layer.site.path == path && layer.merged != nullptr)
      return weight_member(*layer.merged).value();
  }
  for (const Number& number : numbers_) {
    if (number.path == path + ".weight")
      return number.value;
  }
  return {};
}

void Unloading::load(const Number& number) {
  auto* weight = dynamic_cast<nn::Weight*>(number.parameter);
  const bool is_tied = tie_ && (number.path == tie_->embedding.path + ".weight" ||
                                number.path == tie_->head.path + ".weight");
  if (weight != nullptr && is_tied && !stays_tied_)
    weight->load_untied(number.value);
  else
    number.parameter->load(number.value);
  if (weight != nullptr && number.was_packed)
    weight->pack();
}

/// A head that comes to have the embedding's new matrix goes on sharing it; one that comes to have
/// another is said to.
void Unloading::settle_tie() {
  if (!tie_)
    return;
  if (!stays_tied_) {
    base_.untie_head();
    return;
  }
  const auto of = [&](const std::string& path) {
    return std::ranges::find_if(layers_, [&](const Layer& layer) {
      return layer.site.path == path && layer.merged != nullptr;
    });
  };
  const auto embedding = of(tie_->embedding.path);
  const auto head = of(tie_->head.path);
  if (embedding != layers_.end() && head != layers_.end())
    head->merged = std::make_unique<nn::Linear>(weight_member(*embedding->merged));
}

void Unloading::commit() {
  settle_tie();
  for (const Number& number : numbers_)
    load(number);
  for (Layer& layer : layers_)
    *layer.kept = replace_adapted(layer.site, std::move(layer.merged));
}

}  // namespace graft::peft
