#include "graft/tensor/random.h"

#include <cmath>
#include <numbers>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/philox.h"

namespace graft::cpu_kernels {
namespace {

/// Element i takes words 0 and 1 of counter (i, stream): one block an element keeps the numbers the
/// same however the tensor is cut.
PhiloxBlock block_of(const RandomArgs& args, int64_t i) {
  return philox(args.seed,
                {{static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32),
                  static_cast<uint32_t>(args.stream), static_cast<uint32_t>(args.stream >> 32)}});
}

double draw(const RandomArgs& args, int64_t i) {
  const PhiloxBlock block = block_of(args, i);
  const double first = unit_interval(block.words[0]);
  if (!args.normal)
    return args.a + (args.b - args.a) * first;
  const double radius = std::sqrt(-2 * std::log(1 - first));  // 1 - first lies in (0, 1]
  const double angle = 2 * std::numbers::pi * unit_interval(block.words[1]);
  return args.a + args.b * radius * std::cos(angle);
}

KernelStatus random(const RandomArgs& args) {
  if (!contiguous(args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    T* y = args.y.as<T>();
    parallel_for(args.y.numel(), 1 << 12, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        y[i] = convert<T>(draw(args, i));
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_random(Registry& registry) {
  registry.add<random>(random_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
