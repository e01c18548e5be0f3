// First values of a LoRA's matrices, as PEFT's init_lora_weights chooses them.
#pragma once

#include <cstdint>
#include <string_view>

#include "graft/peft/config.h"
#include "graft/peft/lora.h"

namespace graft::peft {

/// Fills A and B. The numbers depend on the seed and the path of the adapted layer, not on the
/// order in which layers are filled.
void initialize(Lora& lora, LoraInit init, uint64_t seed, std::string_view path, DType dtype);

}  // namespace graft::peft
