#include "graft/tensor/optimizer.h"

namespace graft {

constinit Slot<AdamWArgs> adamw_slot("adamw");
constinit Slot<LionArgs> lion_slot("lion");
constinit Slot<SgdArgs> sgd_slot("sgd");

}  // namespace graft
