// The tiles of dense matrices in panels.
#pragma once

#include "graft/tensor/cpu/panel_product.h"

namespace graft::cpu_kernels {

/// A matrix (N,K) of f32 panels (panels, K, 32) or of bf16 ones (panels, ceil(K/2), 32, 2), for
/// products in `compute`.
PanelMatrix dense_panels(const TileKernels& kernels, const TensorView& panels, int64_t n, int64_t k,
                         Compute compute);

}  // namespace graft::cpu_kernels
