#include "graft/cli/original_weights.h"

#include <map>
#include <memory>

#include "graft/models/load.h"
#include "graft/nn/module.h"
#include "graft/nn/weight.h"
#include "graft/peft/sites.h"
#include "graft/tensor/error.h"

namespace graft::cli {

peft::OriginalWeight original_weights(const std::string& path, const std::string& flag,
                                      nn::CausalLM& quantized) {
  const std::shared_ptr<nn::CausalLM> model = models::load(path, {.streamed = true});
  std::map<std::string, nn::Member*> members;
  for (const nn::NamedMember& parameter : nn::named_parameters(*model))
    members[parameter.path] = parameter.member;
  for (const nn::NamedMember& parameter : peft::base_parameters(quantized)) {
    const auto* weight = dynamic_cast<const nn::Weight*>(parameter.member);
    if (weight == nullptr || !weight->form().format)
      continue;
    const auto found = members.find(parameter.path);
    const bool has_it =
        found != members.end() && found->second->shape() == parameter.member->shape();
    GRAFT_CHECK(has_it, ConfigError, flag, " ", path, " has no ", parameter.path, " of ",
                parameter.member->shape(), "; give the model that was quantised");
  }
  return [model, members](const std::string& weight) { return members.at(weight)->value(); };
}

}  // namespace graft::cli
