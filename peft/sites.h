// Sites: the modules of a model as adapters see them, with the seams at which they are put in.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/nn/embedding.h"

namespace graft::peft {

class AdaptedLayer;

/// Is told of what deserves attention but is no error.
using Observer = std::function<void(const std::string& warning)>;

/// A module of a model, with the seam it stands in.
struct Site {
  std::string path;
  nn::Module* module;
  /// Where the module can be replaced, if it is a linear layer; else nullptr.
  nn::Child<nn::LinearLike>* linear;
  /// Where the module can be replaced, if it is an embedding; else nullptr.
  nn::Child<nn::EmbeddingLike>* embedding;
};
/// All modules below `root`, parents first, without looking into adapted layers.
std::vector<Site> sites_of(nn::Module& root);

/// The embedding that reads the ids: the first one. nullptr where there is none.
const Site* input_embedding(const std::vector<Site>& sites);

/// The parameters below a module that are not those of adapters, under their paths from it.
std::vector<nn::NamedMember> base_parameters(nn::Module& module);

/// The parameter called "weight" of a linear layer or an embedding; nullptr of other modules.
nn::Member* weight_of(const Site& site);

/// The module as a layer with adapters; nullptr where it is none.
AdaptedLayer* adapted_layer(nn::Module& module);

/// The linear layer at a site, below its adapters if it has any; nullptr where there is none.
const nn::Linear* linear_of(const Site& site);

/// Every name by which a list could mean one of the sites: "q_proj", "self_attn.q_proj", …
std::vector<std::string> suffixes_of(const std::vector<Site>& sites);
/// "q_proj, k_proj, v_proj": the last parts of the paths of linear layers, each once.
std::string linear_names(const std::vector<Site>& sites);

}  // namespace graft::peft
