// Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): keep the input of a block instead of
// its activations, and run it again in backward.
#pragma once

#include <functional>

#include "graft/autograd/variable.h"

namespace graft {

/// block(x), keeping only x. The block must compute the same when called again: it takes everything
/// that could change (dropout key, adapter selection) by value, and of other variables captures
/// leaves only. Recorded whenever gradients are on, also where x needs none, because the block may
/// reach leaves that do.
Variable checkpoint(std::function<Variable(const Variable&)> block, const Variable& x);

}  // namespace graft
