#include "graft/tensor/rope.h"

#include <algorithm>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/vectors.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

constexpr int64_t token_block = 16;

KernelStatus rope(const RopeArgs& args) {
  if (!contiguous(args.x, args.cos, args.sin, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t heads = args.x.sizes[1];
    const int64_t width = args.x.sizes[2];
    const int64_t half = args.cos.sizes[1];
    const C direction = args.inverse ? C(-1) : C(1);
    parallel_for(args.x.sizes[0], token_block, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        const C* cos = args.cos.as<C>() + token * half;
        const C* sin = args.sin.as<C>() + token * half;
        for (int64_t head = 0; head < heads; ++head) {
          const T* x = args.x.as<T>() + (token * heads + head) * width;
          T* y = args.y.as<T>() + (token * heads + head) * width;
          for (int64_t i = 0; i < half; ++i) {
            const C a = static_cast<C>(x[i]);
            const C b = static_cast<C>(x[i + half]);
            const C s = direction * sin[i];
            y[i] = T(a * cos[i] - b * s);
            y[i + half] = T(b * cos[i] + a * s);
          }
          std::copy(x + 2 * half, x + width, y + 2 * half);
        }
      }
    });
    return KernelStatus::done;
  });
}

template <Isa isa>
KernelStatus rope_vectors(const RopeArgs& args) {
  if (!contiguous(args.x, args.cos, args.sin, args.y))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.x.dtype, [&]<class T>(const Rows<T>& rows) {
    const int64_t heads = args.x.sizes[1];
    const int64_t width = args.x.sizes[2];
    const int64_t half = args.cos.sizes[1];
    parallel_for(args.x.sizes[0], token_block, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        for (int64_t head = 0; head < heads; ++head) {
          const T* x = numbers<T>(args.x) + (token * heads + head) * width;
          T* y = numbers<T>(args.y) + (token * heads + head) * width;
          rows.rotate(x, args.cos.as<float>() + token * half, args.sin.as<float>() + token * half,
                      args.inverse ? -1.0F : 1.0F, y, half);
          std::copy(x + 2 * half, x + width, y + 2 * half);
        }
      }
    });
  });
}

}  // namespace

void register_rope(Registry& registry) {
  registry.add<rope>(rope_slot, DeviceKind::cpu);
  for_each_row_isa([&]<Isa isa>(const char* name) {
    registry.add<rope_vectors<isa>>(rope_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
