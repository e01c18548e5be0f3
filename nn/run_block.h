// Running the blocks of a decoder, each of which may be computed again in backward.
#pragma once

#include "graft/autograd/checkpoint.h"
#include "graft/nn/placement.h"

namespace graft::nn {

/// block.forward(x, placement, context). Where the context asks for it, only x is kept and the
/// block runs again in backward.
template <class Block>
Variable run_block(const Block& block, const Variable& x, const Placement& placement,
                   const Context& context) {
  if (!context.checkpoint_blocks || context.cache != nullptr)
    return block.forward(x, placement, context);
  return checkpoint([&block, placement, context](
                        const Variable& input) { return block.forward(input, placement, context); },
                    x);
}

}  // namespace graft::nn
