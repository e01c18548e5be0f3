// The model card of a saved adapter: README.md with the header by which the hub files it.
#pragma once

#include <string>

#include "graft/peft/config.h"

namespace graft::peft {

/// README.md for an adapter. The YAML header is PEFT's.
std::string model_card(const LoraConfig& config);

}  // namespace graft::peft
