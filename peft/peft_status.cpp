// PeftModel: what it says of its adapters.

#include <algorithm>
#include <cstdio>
#include <set>

#include "graft/peft/adapted_layer.h"
#include "graft/peft/peft_model.h"

namespace graft::peft {
namespace {

/// "1,234,567"
std::string grouped(int64_t count) {
  const std::string digits = std::to_string(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0)
      text += ',';
    text += digits[i];
  }
  return text;
}

/// Those of the names that are in `others`.
std::vector<std::string> common(const std::vector<std::string>& names,
                                const std::vector<std::string>& others) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    if (std::ranges::find(others, name) != others.end())
      found.push_back(name);
  }
  return found;
}

}  // namespace

std::string to_string(const ParameterCounts& counts) {
  const double percent = counts.all == 0 ? 0
                                         : 100 * static_cast<double>(counts.trainable) /
                                               static_cast<double>(counts.all);
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", percent);
  return concat("trainable params: ", grouped(counts.trainable),
                " || all params: ", grouped(counts.all), " || trainable%: ", text);
}

std::string PeftModel::unused_name(std::string wanted) const {
  while (std::ranges::find(adapters_, wanted, &Entry::name) != adapters_.end())
    wanted += '_';
  return wanted;
}

std::vector<std::string> PeftModel::available_adapters() const {
  std::vector<std::string> names;
  for (const Entry& entry : adapters_)
    names.push_back(entry.name);
  return names;
}

std::vector<std::string> PeftModel::active_adapters() const {
  return disabled_ > 0 ? std::vector<std::string>() : active_;
}

std::vector<std::string> PeftModel::trainable_adapters() const {
  std::vector<std::string> names;
  for (const Entry& entry : adapters_) {
    if (entry.trained)
      names.push_back(entry.name);
  }
  return names;
}

const LoraConfig& PeftModel::config(const std::string& name) const {
  return entry(name).config;
}

const std::vector<std::string>& PeftModel::targeted_modules(const std::string& name) const {
  return entry(name).modules;
}

std::vector<NamedVariable> PeftModel::trainable_parameters() const {
  std::vector<NamedVariable> parameters;
  for (const Entry& entry : adapters_) {
    for (const AdapterTensor& tensor : entry.tensors) {
      // An optimizer may have frozen a part, as LoRA-FA does A.
      if (entry.trained && !tensor.is_repeated && tensor.variable.requires_grad())
        parameters.push_back({tensor.name, tensor.variable});
    }
  }
  return parameters;
}

ParameterCounts PeftModel::count_parameters() const {
  ParameterCounts counts;
  std::set<const void*> seen;
  for (const nn::NamedMember& parameter : base_parameters(base_)) {
    if (seen.insert(parameter.member->identity()).second)
      counts.all += parameter.member->shape().numel();
  }
  for (const Entry& entry : adapters_) {
    for (const AdapterTensor& tensor : entry.tensors) {
      if (!tensor.is_repeated && !tensor.is_bias_of_base)
        counts.all += tensor.shape.numel();
    }
  }
  for (const NamedVariable& parameter : trainable_parameters())
    counts.trainable += parameter.variable.shape().numel();
  return counts;
}

std::vector<LayerStatus> PeftModel::layer_status() const {
  std::vector<LayerStatus> layers;
  for (const Site& site : sites_of(base_)) {
    const AdaptedLayer* layer = adapted_layer(*site.module);
    if (layer == nullptr)
      continue;
    const std::vector<std::string> available = layer->adapter_names();
    layers.push_back({.path = site.path,
                      .module_type = site.linear != nullptr ? "linear" : "embedding",
                      .enabled = disabled_ == 0,
                      .available_adapters = available,
                      .active_adapters = common(available, active_),
                      .merged_adapters = layer->merged_adapters(),
                      .trainable_adapters = common(available, trainable_adapters())});
  }
  return layers;
}

ModelStatus PeftModel::model_status() const {
  const ParameterCounts counts = count_parameters();
  return {.base_model_type = base_.info().architecture,
          .adapted_layers = std::ssize(layer_status()),
          .trainable_parameters = counts.trainable,
          .all_parameters = counts.all,
          .enabled = disabled_ == 0,
          .available_adapters = available_adapters(),
          .active_adapters = active_,
          .merged_adapters = merged_,
          .trainable_adapters = trainable_adapters()};
}

}  // namespace graft::peft
