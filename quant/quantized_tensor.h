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

/// Where the codes lie. `blocks` is bitsandbytes' order. `panels` is what the CPU's products read:
/// 32 rows of a matrix together, eight columns of one row in a word (see cpu/code_tiles.h); the
/// codes are the same, so it can be turned back.
enum class Layout { blocks, panels };

struct QuantizedTensor {
  Shape shape;               ///< of the numbers
  DType dtype = DType::f32;  ///< what they were before
  QuantType type = QuantType::nf4;
  int64_t blocksize = 64;
  Layout layout = Layout::blocks;
  /// u8 ((numbers + 1) / 2), or in panels i32 (panels, K / 8, 32).
  Tensor codes{};
  Tensor map{};  ///< f32 (16), the value of each code
  /// f32 (blocks), or in panels (panels, K / group, 32). Undefined where the scales are nested and
  /// have not been worked out.
  Tensor absmax{};
  std::optional<NestedScales> nested{};
  /// What products multiply in: f32, or bf16 with f32 sums where the processor can.
  DType compute = DType::f32;

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

/// The scale of each block, f32 (blocks). Requires: Layout::blocks.
Tensor scales(const QuantizedTensor& x);

/// A matrix (N,K) as the CPU's products read it: in panels, or in blocks with its scales worked out
/// where K is not a multiple of eight.
QuantizedTensor to_panels(const QuantizedTensor& x);
/// The same in bitsandbytes' order, byte for byte what it was before to_panels.
QuantizedTensor to_blocks(const QuantizedTensor& x);
/// Columns of one row that share a scale in panels: the largest run that no block ends in.
int64_t scale_group(int64_t columns, int64_t blocksize);

/// The numbers again, in `dtype`.
Tensor dequantize(const QuantizedTensor& x, DType dtype);

/// Rows [begin, end) of the numbers of a matrix: (end - begin, K). Others are not decoded where a
/// block begins with row `begin`, and in panels 32 divides that.
Tensor dequantize_rows(const QuantizedTensor& x, int64_t begin, int64_t end, DType dtype);

/// Throws ShapeError, DTypeError or ConfigError unless the parts of x, in blocks, fit each other.
void check(const QuantizedTensor& x);

}  // namespace graft::quant
