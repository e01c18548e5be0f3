// QuantizedTensor: a frozen weight in 4 bits a number, as bitsandbytes stores it.
//
// Two codes share a byte, the first in the high nibble. Each block of consecutive numbers (row
// after row, across the ends of rows) has one scale, its largest magnitude; with double
// quantisation the scales are themselves held in 8 bits. A number is codebook[code] · scale in f32,
// rounded once into the dtype asked for.
#pragma once

#include <cstdint>
#include <optional>

#include "graft/quant/blockwise.h"
#include "graft/quant/codebook.h"
#include "graft/tensor/tensor.h"

namespace graft::quant {

/// How numbers are put into 4 bits.
struct Format {
  QuantType type = QuantType::nf4;
  int64_t blocksize = 64;    ///< a power of two from 32 to 4096
  bool double_quant = true;  ///< scales in 8 bits: 4.127 instead of 4.5 bits a number
};

/// Scales in 8 bits: scale = map[code] · absmax + offset.
struct NestedScales {
  Blockwise blocks;
  float offset = 0;
};

struct QuantizedTensor {
  Shape shape;               ///< of the numbers
  DType dtype = DType::f32;  ///< what they were before
  QuantType type = QuantType::nf4;
  int64_t blocksize = 64;
  Tensor codes;   ///< u8 ((numbers + 1) / 2)
  Tensor map;     ///< f32 (16), the value of each code
  Tensor absmax;  ///< f32 (blocks); undefined where the scales are nested
  std::optional<NestedScales> nested{};

  int64_t numel() const { return shape.numel(); }
  /// Bytes held, scales included.
  int64_t nbytes() const;
};

/// codes and absmax of the row-major numbers x (any float): codes u8 ((n + 1) / 2), the high nibble
/// first, an odd last low nibble 0; absmax f32 (blocks). The absmax of a block with a NaN is NaN.
struct Quantize4bitArgs {
  TensorView x, codes, absmax;
  QuantType type;
  int64_t blocksize;
};
/// y[i] = map[code of i] · absmax of its block in f32, rounded once into y's dtype (any float). map
/// f32 (16), absmax f32 (blocks).
struct Dequantize4bitArgs {
  TensorView codes, absmax, map, y;
  int64_t blocksize;
};
extern Slot<Quantize4bitArgs> quantize_4bit_slot;
extern Slot<Dequantize4bitArgs> dequantize_4bit_slot;

/// Quantises the numbers of a float tensor of any shape. Throws NonFiniteError where one is NaN or
/// infinite, ConfigError where the block size is none.
QuantizedTensor quantize(const Tensor& x, const Format& format);

/// The scale of each block, f32 (blocks).
Tensor scales(const QuantizedTensor& x);

/// The numbers again, in `dtype`.
Tensor dequantize(const QuantizedTensor& x, DType dtype);

/// Throws ShapeError, DTypeError or ConfigError unless the parts of x fit each other.
void check(const QuantizedTensor& x);

}  // namespace graft::quant
