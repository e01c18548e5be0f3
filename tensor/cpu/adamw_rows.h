// AdamW's arithmetic on a run of numbers, compiled once per instruction set. Plain data and
// pointers only, for the reason that gemm_tile.h gives.
#pragma once

#include <cstdint>

namespace graft::cpu_kernels {

/// What a step multiplies by and adds, the same for every number.
template <class C>
struct AdamWFactors {
  C scale, kept, weight1, beta2, weight2, correction, eps, step_size;
  bool near_start;  ///< torch.lerp starts from the nearer end
};

/// Updates `count` weights and their moments; see AdamWArgs for the formula. The roundings are
/// those of PyTorch's sequence of tensor operations on a processor with fused multiply-add: one for
/// a product and the sum it goes into. The same bits with every instruction set.
template <class C>
using AdamWRows = void (*)(const AdamWFactors<C>& factors, int64_t count, C* w, const C* g, C* m,
                           C* v);

/// Those of one instruction set.
struct AdamWKernels {
  AdamWRows<float> f32;
  AdamWRows<double> f64;
};

namespace portable {
extern const AdamWKernels adamw_kernels;
}
namespace x86_64_v3 {
extern const AdamWKernels adamw_kernels;
}

}  // namespace graft::cpu_kernels
