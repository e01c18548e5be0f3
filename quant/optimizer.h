// The arithmetic of one optimizer step whose moments are held in 8 bits (Dettmers et al. 2021,
// arXiv:2110.02861).
#pragma once

#include <cstdint>

#include "graft/tensor/optimizer.h"

namespace graft::quant {

/// AdamW as AdamWArgs has it, with the moments in blocks: m in codes of the signed dynamic map, v
/// in codes of the unsigned one (u8 of w's shape), each block with its largest magnitude in
/// `m_absmax` and `v_absmax`, f32 (blocks). A block is read, updated in f32 and rounded to the
/// nearest codes again; but a v above 0 never becomes 0, since the next step divides by its root.
/// The absmax of a block with a NaN or an infinity is NaN or infinite, and so are then all moments
/// of the block. w and g of one floating dtype but f64; all row-major.
struct AdamW8bitArgs {
  TensorView w, g, m, m_absmax, v, v_absmax;
  int64_t blocksize;
  AdamWScalars scalars;
};
extern Slot<AdamW8bitArgs> adamw8bit_slot;

}  // namespace graft::quant
