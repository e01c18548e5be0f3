#include "graft/tensor/optimizer.h"

#include <cmath>

#include "graft/tensor/cpu/adamw_step.h"
#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

constexpr int64_t grain = 1 << 14;

// Hyperparameters are double and rounded to the type computed with where they meet a tensor, and
// the roundings are those of PyTorch's sequence of tensor operations on a processor with fused
// multiply-add: one for a product and the sum it goes into. T is the parameter's type, C that of
// the state and of the arithmetic.

template <class T, class C>
void sgd_block(const SgdArgs& args, int64_t begin, int64_t end) {
  T* w = args.w.as<T>();
  const T* g = args.g.as<T>();
  C* m = args.m.as<C>();
  const C scale = static_cast<C>(args.grad_scale);
  const C decay = static_cast<C>(args.weight_decay);
  const C momentum = static_cast<C>(args.momentum);
  const C weight = static_cast<C>(1 - args.dampening);
  const C step_size = static_cast<C>(-args.lr);
  for (int64_t i = begin; i < end; ++i) {
    const C value = static_cast<C>(w[i]);
    C grad = std::fma(decay, value, static_cast<C>(g[i]) * scale);
    if (m != nullptr) {
      m[i] = args.first ? grad : std::fma(weight, grad, m[i] * momentum);
      grad = args.nesterov ? std::fma(momentum, m[i], grad) : m[i];
    }
    w[i] = T(std::fma(step_size, grad, value));
  }
}

template <class T, class C>
void lion_block(const LionArgs& args, int64_t begin, int64_t end) {
  T* w = args.w.as<T>();
  const T* g = args.g.as<T>();
  C* m = args.m.as<C>();
  const C scale = static_cast<C>(args.grad_scale);
  const C kept = static_cast<C>(1 - args.lr * args.weight_decay);
  const C beta1 = static_cast<C>(args.beta1);
  const C weight1 = static_cast<C>(1 - args.beta1);
  const C beta2 = static_cast<C>(args.beta2);
  const C weight2 = static_cast<C>(1 - args.beta2);
  const C step_size = static_cast<C>(args.lr);
  for (int64_t i = begin; i < end; ++i) {
    const C grad = static_cast<C>(g[i]) * scale;
    const C direction = std::fma(weight1, grad, m[i] * beta1);
    // A NaN is no sign: it goes on into the weight, where it is seen.
    const C sign = direction > 0 ? C(1) : direction < 0 ? C(-1) : direction;
    w[i] = T(std::fma(-step_size, sign, static_cast<C>(w[i]) * kept));
    m[i] = std::fma(weight2, grad, m[i] * beta2);
  }
}

template <const AdamWKernels& kernels>
KernelStatus adamw(const AdamWArgs& args) {
  if (!contiguous(args.w, args.g, args.m, args.v) || args.g.dtype != args.w.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.w.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    if (args.m.dtype != dtype_of<C>::value || args.v.dtype != dtype_of<C>::value)
      return KernelStatus::unsupported;
    const AdamWFactors<C> factors = factors_of<C>(args.scalars);
    parallel_for(args.w.numel(), grain, [&](int64_t begin, int64_t end) {
      adamw_step(rows_of<C>(kernels), factors, end - begin, args.w.as<T>() + begin,
                 args.g.as<const T>() + begin, args.m.as<C>() + begin, args.v.as<C>() + begin);
    });
    return KernelStatus::done;
  });
}

KernelStatus sgd(const SgdArgs& args) {
  if (!contiguous(args.w, args.g, args.m) || args.g.dtype != args.w.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.w.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    if (args.m && args.m.dtype != dtype_of<C>::value)
      return KernelStatus::unsupported;
    parallel_for(args.w.numel(), grain,
                 [&](int64_t begin, int64_t end) { sgd_block<T, C>(args, begin, end); });
    return KernelStatus::done;
  });
}

KernelStatus lion(const LionArgs& args) {
  if (!contiguous(args.w, args.g, args.m) || args.g.dtype != args.w.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.w.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    if (args.m.dtype != dtype_of<C>::value)
      return KernelStatus::unsupported;
    parallel_for(args.w.numel(), grain,
                 [&](int64_t begin, int64_t end) { lion_block<T, C>(args, begin, end); });
    return KernelStatus::done;
  });
}

}  // namespace

void register_optimizer(Registry& registry) {
  registry.add<adamw<portable::adamw_kernels>>(adamw_slot, DeviceKind::cpu);
  if (cpu_has(Isa::avx2))
    registry.add<adamw<x86_64_v3::adamw_kernels>>(adamw_slot, DeviceKind::cpu, isa_name(Isa::avx2));
  registry.add<lion>(lion_slot, DeviceKind::cpu);
  registry.add<sgd>(sgd_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
