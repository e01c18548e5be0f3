#include "graft/quant/optimizer.h"

namespace graft::quant {

constinit Slot<AdamW8bitArgs> adamw8bit_slot("adamw8bit");

}  // namespace graft::quant
