#include "graft/tensor/random.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

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

/// The next number above x, or below it.
template <class T>
T neighbour(T x, bool above) {
  if constexpr (std::is_floating_point_v<T>) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    return std::nextafter(x, above ? infinity : -infinity);
  } else {  // 16 bits: sign and magnitude, magnitudes in order
    const bool negative = x.bits & 0x8000u;
    int order = negative ? -(x.bits & 0x7fff) : x.bits;
    order += above ? 1 : -1;
    T result;
    result.bits = static_cast<uint16_t>(order < 0 ? -order | 0x8000 : order);
    return result;
  }
}

/// The numbers of a dtype in [low, high): a draw between them may be rounded to a bound or across.
template <class T>
struct Bounds {
  Bounds(double low, double high) : least(convert<T>(low)), most(convert<T>(high)) {
    if (convert<double>(least) < low)
      least = neighbour(least, /*above=*/true);
    if (convert<double>(most) >= high)
      most = neighbour(most, /*above=*/false);
    lowest = convert<double>(least);
    highest = convert<double>(most);
  }
  T operator()(T x) const {
    const double value = convert<double>(x);
    return value < lowest ? least : value > highest ? most : x;
  }

  T least, most;
  double lowest, highest;
};

KernelStatus random(const RandomArgs& args) {
  if (!contiguous(args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    const Bounds<T> bounds(args.a, args.b);
    T* y = args.y.as<T>();
    parallel_for(args.y.numel(), 1 << 12, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T drawn = convert<T>(draw(args, i));
        y[i] = args.normal ? drawn : bounds(drawn);
      }
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_random(Registry& registry) {
  registry.add<random>(random_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
