// First values of a LoRA's matrices, as PEFT's init_lora_weights chooses them.
#pragma once

#include <cstdint>
#include <string_view>

#include "graft/peft/config.h"
#include "graft/peft/lora.h"

namespace graft::peft {

/// Fills A and B, and a bias of B with zeros (random: as B). The numbers depend on the seed and the
/// path of the adapted layer, not on the order in which layers are filled. One that has taken a
/// part of its weight begins with that part.
void initialize(Lora& lora, LoraInit init, uint64_t seed, std::string_view path, DType dtype);

/// On an embedding: A zero and B normal with deviation 1; random: both normal. Where the head uses
/// the same matrices, with A and B in each other's place, B is what the head's A would be.
void initialize(LoraEmbedding& lora, LoraInit init, bool is_tied, uint64_t seed,
                std::string_view path, DType dtype);

}  // namespace graft::peft
