// Products with a 4-bit matrix. Tiles of it are decoded inside the product, so that the whole
// matrix never exists in another form.
#pragma once

#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/matmul.h"

namespace graft::quant {

/// A 4-bit matrix (N,K) for kernels: in blocks (`group` is the block size) or in panels (`group` is
/// the run of columns that share a scale), with scales and map f32.
struct CodeMatrix {
  TensorView codes, scales, map;
  int64_t n, k, group;
  Layout layout;
  bool bf16_products;  ///< multiply in bf16 where the processor can
};

/// As LinearArgs and LinearBackwardArgs, with w (N,K) in 4 bits.
struct QuantizedLinearArgs {
  TensorView x;
  CodeMatrix w;
  TensorView bias, u, b, y;
};
struct QuantizedLinearBackwardArgs {
  TensorView dy;
  CodeMatrix w;
  TensorView g, a, dx;
};
extern Slot<QuantizedLinearArgs> quantized_linear_slot;
extern Slot<QuantizedLinearBackwardArgs> quantized_linear_backward_slot;

}  // namespace graft::quant

namespace graft::ops {

/// As linear and linear_backward for a 4-bit matrix.
Tensor linear(const Tensor& x, const quant::QuantizedTensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b);
Tensor linear_backward(const Tensor& dy, const quant::QuantizedTensor& w, const Tensor& g,
                       const Tensor& a);

}  // namespace graft::ops
