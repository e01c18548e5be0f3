#include "graft/quant/blockwise.h"

#include <vector>

#include "graft/quant/blocks.h"
#include "graft/quant/dynamic_map.h"
#include "graft/tensor/check.h"

namespace graft::quant {

constinit Slot<QuantizeBlockwiseArgs> quantize_blockwise_slot("quantize_blockwise");
constinit Slot<DequantizeBlockwiseArgs> dequantize_blockwise_slot("dequantize_blockwise");

Blockwise quantize_blockwise(const Tensor& x, int64_t blocksize, bool is_signed) {
  const DynamicMap& map = is_signed ? signed_dynamic_map() : unsigned_dynamic_map();
  check_blocksize("quantize_blockwise", blocksize);
  const Tensor numbers = x.contiguous();
  Blockwise result{.codes = Tensor::empty(x.shape(), DType::u8, x.device()),
                   .absmax = Tensor::empty({block_count(x.numel(), blocksize)}),
                   .map = Tensor::from(std::vector<float>(map.begin(), map.end()), {256}),
                   .blocksize = blocksize};
  if (x.numel() == 0)
    return result;
  quantize_blockwise_slot(x.device(), {numbers.as_view(), result.codes.as_view(),
                                       result.absmax.as_view(), blocksize, is_signed});
  check_scales("quantize_blockwise", numbers, result.absmax, blocksize);
  return result;
}

Tensor dequantize_blockwise(const Blockwise& x) {
  check_blocksize("dequantize_blockwise", x.blocksize);
  check_dtype("dequantize_blockwise", "codes", x.codes, DType::u8);
  check_shape("dequantize_blockwise", "absmax", x.absmax,
              {block_count(x.codes.numel(), x.blocksize)});
  check_shape("dequantize_blockwise", "map", x.map, {256});
  Tensor y = Tensor::empty(x.codes.shape(), DType::f32, x.codes.device());
  if (y.numel() > 0)
    dequantize_blockwise_slot(y.device(), {x.codes.as_view(), x.absmax.as_view(), x.map.as_view(),
                                           y.as_view(), x.blocksize});
  return y;
}

}  // namespace graft::quant
