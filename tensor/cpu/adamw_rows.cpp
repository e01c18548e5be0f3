// Compiled once per instruction set, whose namespace the build gives as GRAFT_ISA.
#include "graft/tensor/cpu/adamw_rows.h"

namespace graft::cpu_kernels::GRAFT_ISA {
namespace {

// Builtins, so that nothing of the standard library is compiled for this instruction set.
float fused(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
double fused(double a, double b, double c) {
  return __builtin_fma(a, b, c);
}
float root(float x) {
  return __builtin_sqrtf(x);
}
double root(double x) {
  return __builtin_sqrt(x);
}

template <class C>
void adamw_rows(const AdamWFactors<C>& factors, int64_t count, C* __restrict w,
                const C* __restrict g, C* __restrict m, C* __restrict v) {
  const AdamWFactors<C> f = factors;
  for (int64_t i = 0; i < count; ++i) {
    const C grad = g[i] * f.scale;
    const C difference = grad - m[i];
    m[i] = f.near_start ? fused(f.weight1, difference, m[i])
                        : fused(f.weight1 - C(1), difference, grad);
    v[i] = fused(f.weight2 * grad, grad, v[i] * f.beta2);
    const C denominator = root(v[i]) / f.correction + f.eps;
    w[i] = w[i] * f.kept + f.step_size * m[i] / denominator;
  }
}

}  // namespace

extern const AdamWKernels adamw_kernels;
const AdamWKernels adamw_kernels{adamw_rows<float>, adamw_rows<double>};

}  // namespace graft::cpu_kernels::GRAFT_ISA
