// Numbers as blocks of GGUF tensors, by the rules of the gguf package: its bits.
#pragma once

#include "graft/quant/gguf_blocks.h"
#include "graft/tensor/tensor.h"

namespace graft::quant {

/// True for the types that can be written: F32, F16, BF16, Q8_0, Q4_0.
bool is_encodable(GgmlType type);

/// The blocks of `x` (…, in), floating, as their bytes: u8, one dimension; on several threads. A
/// Q8_0 scale is the largest magnitude of its block / 127, a Q4_0 scale the number of the largest
/// magnitude (the first of several) / -8; codes are rounded to nearest, halves away from zero in
/// Q8_0 and up in Q4_0; scales become f16 when the codes are known. Throws DTypeError where the
/// type cannot be written, ShapeError where rows are not whole blocks, NonFiniteError where a
/// number of `x` is NaN or infinite and, in F16, where one is too large for it.
Tensor encode_blocks(GgmlType type, const Tensor& x);

}  // namespace graft::quant
