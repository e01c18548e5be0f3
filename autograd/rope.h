// Rotary position embedding, with gradients.
#pragma once

#include "graft/autograd/variable.h"
#include "graft/tensor/rope.h"

namespace graft {

/// Rotates x (B,T,H,D) by the angles of the tables, one row per token. Elements of a head that the
/// tables have no angles for stay as they are.
Variable rope(const Variable& x, const ops::RopeTables& tables);

}  // namespace graft
