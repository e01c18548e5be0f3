#include "graft/peft/sites.h"

#include <algorithm>
#include <set>

#include "graft/peft/adapted_linear.h"
#include "graft/peft/targets.h"
#include "graft/tensor/error.h"

namespace graft::peft {
namespace {

void walk(nn::Module& module, const std::string& prefix, std::vector<Site>& sites) {
  for (nn::Member* member : module.members()) {
    nn::Module* child = member->module();
    if (child == nullptr)
      continue;
    std::string path = prefix;
    if (!member->name().empty()) {
      path += (prefix.empty() ? "" : ".") + member->name();
      sites.push_back({path, child, dynamic_cast<nn::Child<nn::LinearLike>*>(member),
                       dynamic_cast<nn::Child<nn::EmbeddingLike>*>(member)});
    }
    if (!child->is_opaque())
      walk(*child, path, sites);
  }
}

void collect(nn::Module& module, const std::string& prefix, std::vector<nn::NamedMember>& found) {
  // Not even a look at the adapters, of which a layer may have hundreds.
  if (const AdaptedLayer* adapted = adapted_layer(module))
    return collect(adapted->base(), prefix, found);
  for (nn::Member* member : module.members()) {
    if (member->is_parameter())
      found.push_back({prefix + member->name(), member});
    if (nn::Module* child = member->module())
      collect(*child, member->name().empty() ? prefix : prefix + member->name() + ".", found);
  }
}

}  // namespace

std::vector<Site> sites_of(nn::Module& root) {
  std::vector<Site> sites;
  walk(root, "", sites);
  return sites;
}

const Site* input_embedding(const std::vector<Site>& sites) {
  const auto found =
      std::ranges::find_if(sites, [](const Site& site) { return site.embedding != nullptr; });
  return found == sites.end() ? nullptr : &*found;
}

std::vector<nn::NamedMember> base_parameters(nn::Module& module) {
  std::vector<nn::NamedMember> found;
  collect(module, "", found);
  return found;
}

nn::Member* weight_of(const Site& site) {
  if (site.linear == nullptr && site.embedding == nullptr)
    return nullptr;
  for (const nn::NamedMember& parameter : base_parameters(*site.module)) {
    if (parameter.path == "weight")
      return parameter.member;
  }
  return nullptr;
}

AdaptedLayer* adapted_layer(nn::Module& module) {
  return dynamic_cast<AdaptedLayer*>(&module);
}

const nn::Linear* linear_of(const Site& site) {
  if (const auto* adapted = dynamic_cast<const AdaptedLinear*>(site.module))
    return &adapted->base();
  return dynamic_cast<const nn::Linear*>(site.module);
}

std::vector<std::string> suffixes_of(const std::vector<Site>& sites) {
  std::set<std::string> suffixes;
  for (const Site& site : sites) {
    suffixes.insert(site.path);
    for (size_t dot = site.path.find('.'); dot != std::string::npos;
         dot = site.path.find('.', dot + 1))
      suffixes.insert(site.path.substr(dot + 1));
  }
  return {suffixes.begin(), suffixes.end()};
}

std::string linear_names(const std::vector<Site>& sites) {
  std::vector<std::string> names;
  for (const Site& site : sites) {
    std::string last = site.path.substr(site.path.rfind('.') + 1);
    if (site.linear != nullptr && std::ranges::find(names, last) == names.end())
      names.push_back(std::move(last));
  }
  return concat(Targets(names));
}

}  // namespace graft::peft
