// PackedTensor: a frozen matrix in the panel layout that the CPU's products read.
//
// A panel is 32 rows, stored column after column, so that 32 numbers of one column are next to each
// other; in bf16 two columns are interleaved, as the processor's products of pairs want them. The
// last panel is filled up with rows of zeros, an odd number of columns in bf16 with one more. The
// bytes are those of the numbers, so the matrix can be had back exactly.
#pragma once

#include "graft/tensor/slot.h"
#include "graft/tensor/tensor.h"

namespace graft {

struct PackedTensor {
  Shape shape;    ///< (N,K) of the matrix
  Tensor panels;  ///< f32 (panels, K, 32), or bf16 (panels, ceil(K/2), 32, 2)

  DType dtype() const { return panels.dtype(); }
};

/// As LinearArgs and LinearBackwardArgs, with w (N,K) in `panels`.
struct PackedLinearArgs {
  TensorView x, panels, bias, u, b, y;
};
struct PackedLinearBackwardArgs {
  TensorView dy, panels, g, a, dx;
};
extern Slot<PackedLinearArgs> packed_linear_slot;
extern Slot<PackedLinearBackwardArgs> packed_linear_backward_slot;

/// w (N,K), f32 or bf16, on the CPU -> panels.
PackedTensor pack(const Tensor& w);
/// The matrix again, row-major, bit for bit.
Tensor unpack(const PackedTensor& w);
/// Its rows at `indices` (n) i64 in [0, N): (n, K).
Tensor unpack_rows(const PackedTensor& w, const Tensor& indices);

namespace ops {

/// As linear and linear_backward for a matrix in panels.
Tensor linear(const Tensor& x, const PackedTensor& w, const Tensor& bias, const Tensor& u,
              const Tensor& b);
Tensor linear_backward(const Tensor& dy, const PackedTensor& w, const Tensor& g, const Tensor& a);

}  // namespace ops
}  // namespace graft
