#include "graft/tensor/pointwise.h"

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/vectors.h"
#include "graft/tensor/functors.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

constexpr int64_t grain = 1 << 14;

/// Calls body(i) for all elements, in parallel blocks.
template <class Body>
KernelStatus for_each(int64_t n, const Body& body) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(i);
  });
  return KernelStatus::done;
}

KernelStatus add(const AddArgs& args) {
  if (!contiguous(args.a, args.b, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* a = args.a.as<T>();
    const T* b = args.b.as<T>();
    T* y = args.y.as<T>();
    const C alpha = static_cast<C>(args.alpha);
    return for_each(args.y.numel(), [=](int64_t i) {
      y[i] = T(static_cast<C>(a[i]) + alpha * static_cast<C>(b[i]));
    });
  });
}

KernelStatus mul(const MulArgs& args) {
  if (!contiguous(args.a, args.b, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* a = args.a.as<T>();
    const T* b = args.b.as<T>();
    T* y = args.y.as<T>();
    return for_each(args.y.numel(),
                    [=](int64_t i) { y[i] = T(static_cast<C>(a[i]) * static_cast<C>(b[i])); });
  });
}

KernelStatus scale(const ScaleArgs& args) {
  if (!contiguous(args.x, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* x = args.x.as<T>();
    T* y = args.y.as<T>();
    const C factor = static_cast<C>(args.factor);
    return for_each(args.y.numel(), [=](int64_t i) { y[i] = T(factor * static_cast<C>(x[i])); });
  });
}

/// y = F(gate) · up, for F one of the functors.
template <class F, class Args>
KernelStatus gated(const Args& args) {
  if (!contiguous(args.gate, args.up, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* gate = args.gate.template as<T>();
    const T* up = args.up.template as<T>();
    T* y = args.y.template as<T>();
    return for_each(args.y.numel(), [=](int64_t i) {
      y[i] = T(F::forward(static_cast<C>(gate[i])) * static_cast<C>(up[i]));
    });
  });
}

template <class F, class Args>
KernelStatus gated_backward(const Args& args) {
  if (!contiguous(args.dy, args.gate, args.up, args.dgate, args.dup))
    return KernelStatus::unsupported;
  return visit_float(args.dy.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* dy = args.dy.template as<T>();
    const T* gate = args.gate.template as<T>();
    const T* up = args.up.template as<T>();
    T* dgate = args.dgate.template as<T>();
    T* dup = args.dup.template as<T>();
    return for_each(args.dy.numel(), [=](int64_t i) {
      const C g = static_cast<C>(gate[i]);
      const C d = static_cast<C>(dy[i]);
      dgate[i] = T(F::backward(d * static_cast<C>(up[i]), g));
      dup[i] = T(d * F::forward(g));
    });
  });
}

/// y = F(x).
template <class F>
KernelStatus activation(const GeluArgs& args) {
  if (!contiguous(args.x, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* x = args.x.as<T>();
    T* y = args.y.as<T>();
    return for_each(args.y.numel(), [=](int64_t i) { y[i] = T(F::forward(static_cast<C>(x[i]))); });
  });
}

template <class F>
KernelStatus activation_backward(const GeluBackwardArgs& args) {
  if (!contiguous(args.dy, args.x, args.dx))
    return KernelStatus::unsupported;
  return visit_float(args.dx.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* dy = args.dy.as<T>();
    const T* x = args.x.as<T>();
    T* dx = args.dx.as<T>();
    return for_each(args.dx.numel(), [=](int64_t i) {
      dx[i] = T(F::backward(static_cast<C>(dy[i]), static_cast<C>(x[i])));
    });
  });
}

KernelStatus swiglu(const SwigluArgs& args) {
  return gated<Silu>(args);
}
KernelStatus swiglu_backward(const SwigluBackwardArgs& args) {
  return gated_backward<Silu>(args);
}
KernelStatus gelu(const GeluArgs& args) {
  return args.kind == GeluKind::exact ? activation<Gelu>(args) : activation<GeluTanh>(args);
}
KernelStatus gelu_backward(const GeluBackwardArgs& args) {
  return args.kind == GeluKind::exact ? activation_backward<Gelu>(args)
                                      : activation_backward<GeluTanh>(args);
}
KernelStatus geglu(const GegluArgs& args) {
  return args.kind == GeluKind::exact ? gated<Gelu>(args) : gated<GeluTanh>(args);
}
KernelStatus geglu_backward(const GegluBackwardArgs& args) {
  return args.kind == GeluKind::exact ? gated_backward<Gelu>(args) : gated_backward<GeluTanh>(args);
}

// The same in vectors, for f32 and bf16.

template <Isa isa>
KernelStatus add_vectors(const AddArgs& args) {
  if (!contiguous(args.a, args.b, args.y))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.y.dtype, [&]<class T>(const Rows<T>& rows) {
    parallel_for(args.y.numel(), grain, [&](int64_t begin, int64_t end) {
      rows.add(numbers<T>(args.a) + begin, numbers<T>(args.b) + begin,
               static_cast<float>(args.alpha), numbers<T>(args.y) + begin, end - begin);
    });
  });
}

/// y = f(gate) · up for the activation that `pick` takes out of a table of rows.
template <Isa isa, auto pick, class Args>
KernelStatus gated_vectors(const Args& args) {
  if (!contiguous(args.gate, args.up, args.y))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.y.dtype, [&]<class T>(const Rows<T>& rows) {
    parallel_for(args.y.numel(), grain, [&](int64_t begin, int64_t end) {
      pick(rows).gated(numbers<T>(args.gate) + begin, numbers<T>(args.up) + begin,
                       numbers<T>(args.y) + begin, end - begin);
    });
  });
}

template <Isa isa, auto pick, class Args>
KernelStatus gated_backward_vectors(const Args& args) {
  if (!contiguous(args.dy, args.gate, args.up, args.dgate, args.dup))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.dy.dtype, [&]<class T>(const Rows<T>& rows) {
    parallel_for(args.dy.numel(), grain, [&](int64_t begin, int64_t end) {
      pick(rows).gated_backward(numbers<T>(args.dy) + begin, numbers<T>(args.gate) + begin,
                                numbers<T>(args.up) + begin, numbers<T>(args.dgate) + begin,
                                numbers<T>(args.dup) + begin, end - begin);
    });
  });
}

constexpr auto silu_of = [](const auto& rows) -> const auto& {
  return rows.silu;
};
constexpr auto gelu_tanh_of = [](const auto& rows) -> const auto& {
  return rows.gelu_tanh;
};

template <Isa isa>
KernelStatus geglu_vectors(const GegluArgs& args) {
  if (args.kind != GeluKind::tanh)
    return KernelStatus::unsupported;
  return gated_vectors<isa, gelu_tanh_of>(args);
}

template <Isa isa>
KernelStatus geglu_backward_vectors(const GegluBackwardArgs& args) {
  if (args.kind != GeluKind::tanh)
    return KernelStatus::unsupported;
  return gated_backward_vectors<isa, gelu_tanh_of>(args);
}

template <Isa isa>
KernelStatus gelu_vectors(const GeluArgs& args) {
  if (args.kind != GeluKind::tanh || !contiguous(args.x, args.y))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.y.dtype, [&]<class T>(const Rows<T>& rows) {
    parallel_for(args.y.numel(), grain, [&](int64_t begin, int64_t end) {
      rows.gelu_tanh.forward(numbers<T>(args.x) + begin, numbers<T>(args.y) + begin, end - begin);
    });
  });
}

template <Isa isa>
KernelStatus gelu_backward_vectors(const GeluBackwardArgs& args) {
  if (args.kind != GeluKind::tanh || !contiguous(args.dy, args.x, args.dx))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.dx.dtype, [&]<class T>(const Rows<T>& rows) {
    parallel_for(args.dx.numel(), grain, [&](int64_t begin, int64_t end) {
      rows.gelu_tanh.backward(numbers<T>(args.dy) + begin, numbers<T>(args.x) + begin,
                              numbers<T>(args.dx) + begin, end - begin);
    });
  });
}

}  // namespace

void register_pointwise(Registry& registry) {
  registry.add<add>(add_slot, DeviceKind::cpu);
  registry.add<mul>(mul_slot, DeviceKind::cpu);
  registry.add<scale>(scale_slot, DeviceKind::cpu);
  registry.add<swiglu>(swiglu_slot, DeviceKind::cpu);
  registry.add<swiglu_backward>(swiglu_backward_slot, DeviceKind::cpu);
  registry.add<gelu>(gelu_slot, DeviceKind::cpu);
  registry.add<gelu_backward>(gelu_backward_slot, DeviceKind::cpu);
  registry.add<geglu>(geglu_slot, DeviceKind::cpu);
  registry.add<geglu_backward>(geglu_backward_slot, DeviceKind::cpu);
  for_each_row_isa([&]<Isa isa>(const char* name) {
    registry.add<add_vectors<isa>>(add_slot, DeviceKind::cpu, name);
    registry.add<gated_vectors<isa, silu_of, SwigluArgs>>(swiglu_slot, DeviceKind::cpu, name);
    registry.add<gated_backward_vectors<isa, silu_of, SwigluBackwardArgs>>(swiglu_backward_slot,
                                                                           DeviceKind::cpu, name);
    registry.add<gelu_vectors<isa>>(gelu_slot, DeviceKind::cpu, name);
    registry.add<gelu_backward_vectors<isa>>(gelu_backward_slot, DeviceKind::cpu, name);
    registry.add<geglu_vectors<isa>>(geglu_slot, DeviceKind::cpu, name);
    registry.add<geglu_backward_vectors<isa>>(geglu_backward_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
