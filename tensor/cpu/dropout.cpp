#include "graft/tensor/dropout.h"

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/philox.h"

namespace graft::cpu_kernels {
namespace {

/// The mask of element j of a row: word j % 4 of counter (j / 4, position, sample, step) under a
/// key mixed from seed and module.
KernelStatus dropout(const DropoutArgs& args) {
  if (!contiguous(args.x, args.y, args.sample, args.position))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.x.sizes[1];
    const uint64_t key = args.seed + uint64_t{args.module} * 0x9E3779B97F4A7C15u;
    const float p = static_cast<float>(args.p);
    const C keep_scale = static_cast<C>(1 / (1 - args.p));
    parallel_for(args.x.sizes[0], 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const auto sample = static_cast<uint32_t>(args.sample.as<int64_t>()[row]);
        const auto position = static_cast<uint32_t>(args.position.as<int64_t>()[row]);
        const T* x = args.x.as<T>() + row * width;
        T* y = args.y.as<T>() + row * width;
        PhiloxBlock block{};
        for (int64_t j = 0; j < width; ++j) {
          if (j % 4 == 0)
            block = philox(key, {{static_cast<uint32_t>(j / 4), position, sample, args.step}});
          const bool keep = unit_interval(block.words[j % 4]) >= p;
          y[j] = keep ? T(static_cast<C>(x[j]) * keep_scale) : T(C(0));
        }
      }
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_dropout(Registry& registry) {
  registry.add<dropout>(dropout_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
