#include "graft/cli/adapted_modules.h"

#include <optional>

#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/lora.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

constexpr const char* adapter_name = "default";

/// What there is to say of the adapter on a layer; nothing where it has none. r is 0 of other
/// kinds than LoRA.
std::optional<AdaptedModule> describe(nn::Module& layer) {
  AdaptedModule module;
  peft::AdapterBase* adapter = nullptr;
  if (auto* linear = dynamic_cast<peft::AdaptedLinear*>(&layer)) {
    module.in_features = linear->in_features();
    module.out_features = linear->out_features();
    adapter = linear->find(adapter_name);
  } else if (auto* embedding = dynamic_cast<peft::AdaptedEmbedding*>(&layer)) {
    module.in_features = embedding->rows();
    module.out_features = embedding->features();
    adapter = embedding->find(adapter_name);
  }
  if (adapter == nullptr)
    return std::nullopt;
  module.parameters = nn::count_parameters(*adapter);
  const auto set = [&](const auto* lora) {
    if (lora == nullptr)
      return;
    module.r = lora->r();
    module.scale = lora->scaling();
  };
  set(dynamic_cast<const peft::Lora*>(adapter));
  set(dynamic_cast<const peft::LoraEmbedding*>(adapter));
  set(dynamic_cast<const peft::TiedLora*>(adapter));
  return module;
}

}  // namespace

std::vector<AdaptedModule> adapted_modules(peft::PeftModel& model) {
  std::vector<AdaptedModule> modules;
  const peft::LoraConfig& config = model.config(adapter_name);
  const peft::RegexMatcher matcher = text::full_matcher();
  for (const peft::Site& site : peft::sites_of(model.base_model())) {
    std::optional<AdaptedModule> module = describe(*site.module);
    if (!module)
      continue;
    module->path = site.path;
    if (module->r > 0)
      module->alpha =
          peft::pattern_value(config.alpha_pattern, site.path, config.lora_alpha, matcher);
    modules.push_back(std::move(*module));
  }
  return modules;
}

}  // namespace graft::cli
