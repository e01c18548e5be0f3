// Blocks: runs of consecutive numbers of a row-major tensor that share one scale. They do not stop
// at the ends of rows, and the last one may be shorter.
#pragma once

#include <cstdint>

#include "graft/tensor/tensor.h"

namespace graft::quant {

/// Scales that share a scale with double quantisation, as bitsandbytes has it. Files may say
/// another size.
inline constexpr int64_t nested_blocksize = 256;

/// How many blocks `elements` numbers make.
int64_t block_count(int64_t elements, int64_t blocksize);

/// Throws ConfigError unless `blocksize` is a power of two from 32 to 4096.
void check_blocksize(const char* operation, int64_t blocksize);

/// Throws NonFiniteError that says which number of x is NaN or infinite, where one of the `absmax`
/// of its blocks is.
void check_scales(const char* operation, const Tensor& x, const Tensor& absmax, int64_t blocksize);

}  // namespace graft::quant
