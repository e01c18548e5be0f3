#include "graft/quant/linear.h"

#include "graft/tensor/check.h"
#include "graft/tensor/check_linear.h"

namespace graft::quant {

constinit Slot<QuantizedLinearArgs> quantized_linear_slot("quantized_linear");
constinit Slot<QuantizedLinearBackwardArgs> quantized_linear_backward_slot(
    "quantized_linear_backward");

namespace {

/// A weight with its scales worked out; `scales` keeps them for the call where it had none.
CodeMatrix code_matrix(const QuantizedTensor& w, Tensor& scales) {
  scales = w.layout == Layout::panels ? w.absmax : quant::scales(w);
  return {.codes = w.codes.as_view(),
          .scales = scales.as_view(),
          .map = w.map.as_view(),
          .n = w.shape[0],
          .k = w.shape[1],
          .group = w.layout == Layout::panels ? scale_group(w.shape[1], w.blocksize) : w.blocksize,
          .layout = w.layout,
          .bf16_products = w.compute == DType::bf16};
}

}  // namespace
}  // namespace graft::quant

namespace graft::ops {

Tensor linear(const Tensor& x, const quant::QuantizedTensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b) {
  const LinearOperands operands = check_linear(x, w.shape, bias, u, b);
  Tensor scales;
  if (operands.y.numel() > 0)
    quant::quantized_linear_slot(
        x.device(), {operands.x.as_view(), quant::code_matrix(w, scales), bias.as_view(),
                     u.as_view(), b.as_view(), as_rows(operands.y).as_view()});
  return operands.y;
}

Tensor linear_backward(const Tensor& dy, const quant::QuantizedTensor& w, const Tensor& g,
                       const Tensor& a) {
  const LinearBackwardOperands operands = check_linear_backward(dy, w.shape, g, a);
  Tensor scales;
  if (operands.dx.numel() > 0)
    quant::quantized_linear_backward_slot(
        dy.device(), {operands.dy.as_view(), quant::code_matrix(w, scales), g.as_view(),
                      a.as_view(), as_rows(operands.dx).as_view()});
  return operands.dx;
}

}  // namespace graft::ops
