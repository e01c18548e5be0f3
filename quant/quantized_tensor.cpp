#include "graft/quant/quantized_tensor.h"

#include <numeric>
#include <span>
#include <vector>

#include "graft/quant/blocks.h"
#include "graft/tensor/check.h"

namespace graft::quant {

constinit Slot<Quantize4bitArgs> quantize_4bit_slot("quantize_4bit");
constinit Slot<Dequantize4bitArgs> dequantize_4bit_slot("dequantize_4bit");

namespace {

/// The scales less their mean, in 8 bits.
NestedScales nest(const Tensor& absmax) {
  const std::span<const float> values = absmax.span<float>();
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  const auto offset = static_cast<float>(sum / static_cast<double>(values.size()));
  std::vector<float> centred(values.begin(), values.end());
  for (float& value : centred)
    value -= offset;
  return {quantize_blockwise(Tensor::from(centred, absmax.shape()), nested_blocksize), offset};
}

int64_t nbytes_of(const Tensor& x) {
  return x.defined() ? x.nbytes() : 0;
}

}  // namespace

int64_t QuantizedTensor::nbytes() const {
  int64_t bytes = codes.nbytes() + map.nbytes() + nbytes_of(absmax);
  if (nested) {
    const Blockwise& blocks = nested->blocks;
    bytes += blocks.codes.nbytes() + blocks.absmax.nbytes() + blocks.map.nbytes();
  }
  return bytes;
}

QuantizedTensor quantize(const Tensor& x, const Format& format) {
  check_blocksize("quantize", format.blocksize);
  const std::span<const float, 16> values = codebook(format.type);
  QuantizedTensor result{
      .shape = x.shape(),
      .dtype = x.dtype(),
      .type = format.type,
      .blocksize = format.blocksize,
      .codes = Tensor::empty({(x.numel() + 1) / 2}, DType::u8, x.device()),
      .map = Tensor::from(std::vector<float>(values.begin(), values.end()), {16}),
      .absmax = Tensor::empty({block_count(x.numel(), format.blocksize)})};
  if (x.numel() == 0)
    return result;
  const Tensor numbers = x.contiguous();
  quantize_4bit_slot(x.device(), {numbers.as_view(), result.codes.as_view(),
                                  result.absmax.as_view(), format.type, format.blocksize});
  check_scales("quantize", numbers, result.absmax, format.blocksize);
  if (format.double_quant) {
    result.nested = nest(result.absmax);
    result.absmax = Tensor();
  }
  return result;
}

Tensor scales(const QuantizedTensor& x) {
  if (x.absmax.defined())
    return x.absmax;
  Tensor result = dequantize_blockwise(x.nested->blocks);
  for (float& value : result.span<float>())
    value += x.nested->offset;
  return result;
}

Tensor dequantize(const QuantizedTensor& x, DType dtype) {
  if (x.layout == Layout::panels)
    return dequantize(to_blocks(x), dtype);
  Tensor y = Tensor::empty(x.shape, dtype, x.codes.device());
  if (y.numel() > 0)
    dequantize_4bit_slot(y.device(), {x.codes.as_view(), scales(x).as_view(), x.map.as_view(),
                                      y.as_view(), x.blocksize});
  return y;
}

void check(const QuantizedTensor& x) {
  const char* const operation = "4-bit weight";
  GRAFT_CHECK(x.layout == Layout::blocks, ConfigError, operation, ": is in panels");
  check_blocksize(operation, x.blocksize);
  check_dtype(operation, "codes", x.codes, DType::u8);
  check_shape(operation, "codes", x.codes, {(x.numel() + 1) / 2});
  check_dtype(operation, "map", x.map, DType::f32);
  check_shape(operation, "map", x.map, {16});
  const int64_t blocks = block_count(x.numel(), x.blocksize);
  if (!x.nested) {
    check_dtype(operation, "absmax", x.absmax, DType::f32);
    check_shape(operation, "absmax", x.absmax, {blocks});
    return;
  }
  const Blockwise& nested = x.nested->blocks;
  check_blocksize(operation, nested.blocksize);
  check_dtype(operation, "absmax", nested.codes, DType::u8);
  check_shape(operation, "absmax", nested.codes, {blocks});
  check_dtype(operation, "nested absmax", nested.absmax, DType::f32);
  check_shape(operation, "nested absmax", nested.absmax, {block_count(blocks, nested.blocksize)});
  check_dtype(operation, "nested map", nested.map, DType::f32);
  check_shape(operation, "nested map", nested.map, {256});
}

}  // namespace graft::quant
