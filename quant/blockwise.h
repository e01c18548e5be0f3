// 8-bit block-wise quantisation: each block of numbers is divided by its largest magnitude and
// rounded to the nearest entry of a map of 256.
#pragma once

#include <cstdint>

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft::quant {

/// codes[i] = the entry of the signed or unsigned dynamic map nearest to x[i] · (1 / absmax of its
/// block). Blocks run over the row-major numbers, the last one may be shorter. x any float, codes
/// u8 of x's shape, absmax f32 (blocks). The absmax of a block with a NaN is NaN.
struct QuantizeBlockwiseArgs {
  TensorView x, codes, absmax;
  int64_t blocksize;
  bool is_signed;
};
/// y[i] = map[codes[i]] · absmax of its block, rounded once into y's dtype.
struct DequantizeBlockwiseArgs {
  TensorView codes, absmax, map, y;
  int64_t blocksize;
};
extern Slot<QuantizeBlockwiseArgs> quantize_blockwise_slot;
extern Slot<DequantizeBlockwiseArgs> dequantize_blockwise_slot;

/// Numbers in 8 bits each.
struct Blockwise {
  Tensor codes;   ///< u8, of the shape of the numbers
  Tensor absmax;  ///< f32 (blocks)
  Tensor map;     ///< f32 (256)
  int64_t blocksize = 0;
};

/// With the signed dynamic map, or the unsigned one, to which negative numbers are 0. Throws
/// NonFiniteError where a number is NaN or infinite, ConfigError where the block size is not a
/// power of two from 32 to 4096.
Blockwise quantize_blockwise(const Tensor& x, int64_t blocksize, bool is_signed = true);
/// The numbers again, as f32. Throws ShapeError where the sizes do not fit each other.
Tensor dequantize_blockwise(const Blockwise& x);

}  // namespace graft::quant
