// What an adapter that is on a model changes of one of its layers.
#pragma once

#include <string>

#include "graft/peft/delta.h"
#include "graft/peft/sites.h"

namespace graft::peft {

/// What the adapter alone changes of the layer at a site, as factors or as `weight`, without a
/// gain; without numbers where it is not on it. Of an embedding turned, as A and B of its adapters
/// are: `a` (r, rows), `b` (features, r).
Delta delta_at(const Site& site, const std::string& adapter);

}  // namespace graft::peft
