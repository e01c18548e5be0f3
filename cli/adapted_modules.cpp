#include "graft/cli/adapted_modules.h"

#include "graft/peft/adapted_linear.h"
#include "graft/peft/lora.h"
#include "graft/text/regex.h"

namespace graft::cli {
namespace {

constexpr const char* adapter_name = "default";

}  // namespace

std::vector<AdaptedModule> adapted_modules(peft::PeftModel& model) {
  std::vector<AdaptedModule> modules;
  const peft::LoraConfig& config = model.config(adapter_name);
  const peft::RegexMatcher matcher = text::full_matcher();
  nn::for_each_member(model, [&](const std::string& path, nn::Member& member) {
    auto* layer = dynamic_cast<peft::AdaptedLinear*>(member.module());
    peft::Adapter* adapter = layer == nullptr ? nullptr : layer->find(adapter_name);
    if (adapter == nullptr)
      return;
    AdaptedModule module{.path = path,
                         .in_features = layer->in_features(),
                         .out_features = layer->out_features(),
                         .parameters = nn::count_parameters(*adapter)};
    if (const auto* lora = dynamic_cast<peft::Lora*>(adapter)) {
      module.r = lora->r();
      module.alpha = peft::pattern_value(config.alpha_pattern, path, config.lora_alpha, matcher);
      module.scale = lora->scaling();
    }
    modules.push_back(std::move(module));
  });
  return modules;
}

}  // namespace graft::cli
