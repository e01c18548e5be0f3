#include "graft/train/lora_optimizers.h"

#include <map>
#include <set>
#include <string>

#include "graft/nn/layer_norm.h"
#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/tensor/error.h"

namespace graft::train {
namespace {

/// The copies of parts of LayerNorms that adapters train.
std::set<const void*> layer_norm_copies(peft::PeftModel& model) {
  std::set<const void*> found;
  for (const peft::Site& site : peft::sites_of(model.base_model())) {
    if (dynamic_cast<nn::LayerNorm*>(site.module) == nullptr)
      continue;
    for (nn::Member* member : site.module->members()) {
      for (const std::string& adapter : model.available_adapters()) {
        const nn::Overrides* overrides = member->overrides();
        const nn::Override* copy = overrides == nullptr ? nullptr : overrides->find(adapter);
        if (copy != nullptr)
          found.insert(copy->value.id());
      }
    }
  }
  return found;
}

bool is_of_embedding(const std::string& name) {
  return name.ends_with(".lora_embedding_A") || name.ends_with(".lora_embedding_B");
}

}  // namespace

void set_loraplus(optim::Optimizer& optimizer, peft::PeftModel& model,
                  const LoraPlusOptions& options) {
  GRAFT_CHECK(options.lr_ratio > 0 && options.lr_embedding >= 0 && optimizer.lr() > 0, ConfigError,
              "lora+: the ratio is ", options.lr_ratio, ", the learning rate ", optimizer.lr(),
              ", that of embeddings ", options.lr_embedding,
              "; the first two above 0, the last at least 0 expected");
  const std::set<const void*> layer_norms = layer_norm_copies(model);
  std::vector<optim::ParameterSettings> settings;
  for (const auto& [name, variable] : optimizer.parameters()) {
    optim::ParameterSettings& each = settings.emplace_back();
    if (is_of_embedding(name)) {
      each.lr_factor = options.lr_embedding / optimizer.lr();
    } else if (name.ends_with(".lora_B.weight") || variable.value().rank() == 1) {
      each.lr_factor = options.lr_ratio;
      each.decays = !name.ends_with("bias") && !layer_norms.contains(variable.id());
    }
  }
  optimizer.set_parameter_settings(std::move(settings));
}

std::unique_ptr<optim::LoraFa> make_lorafa(peft::PeftModel& model,
                                           const optim::AdamWOptions& options) {
  std::map<const void*, optim::LoraFaFactor> factor_of;  // by the identity of B
  for (const peft::Site& site : peft::sites_of(model.base_model())) {
    for (const std::string& name : model.active_adapters()) {
      const auto* embedding = dynamic_cast<peft::AdaptedEmbedding*>(site.module);
      GRAFT_CHECK(
          embedding == nullptr || embedding->find(name) == nullptr, ConfigError,
          "lorafa: the adapter \"", name, "\" is on ", site.path,
          ", an embedding, whose A starts at zero and would stay there; leave it out of the "
          "targets or use another optimizer");
      const auto* linear = dynamic_cast<peft::AdaptedLinear*>(site.module);
      auto* lora = linear == nullptr ? nullptr : dynamic_cast<peft::Lora*>(linear->find(name));
      if (lora != nullptr)
        factor_of.emplace(lora->lora_b()->id(),
                          optim::LoraFaFactor{*lora->lora_a(), lora->scaling()});
    }
  }
  std::map<std::string, optim::LoraFaFactor> factors;
  for (auto& [b, factor] : factor_of)
    Variable(factor.a).set_requires_grad(false);
  std::vector<NamedVariable> parameters = model.trainable_parameters();
  for (const auto& [name, variable] : parameters) {
    if (const auto found = factor_of.find(variable.id()); found != factor_of.end())
      factors.emplace(name, found->second);
  }
  return std::make_unique<optim::LoraFa>(std::move(parameters), factors, options);
}

}  // namespace graft::train
