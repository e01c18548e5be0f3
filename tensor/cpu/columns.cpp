#include "graft/tensor/columns.h"

#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Rows of one block. Partial sums of dfactors are per block, so this fixes their order.
constexpr int64_t row_block = 32;

KernelStatus scale_columns(const ScaleColumnsArgs& args) {
  if (!contiguous(args.x, args.factors, args.y) || (args.bias && !contiguous(args.bias)))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.x.sizes[1];
    const C* factors = args.factors.as<C>();
    const T* bias = args.bias ? args.bias.as<T>() : nullptr;
    parallel_for(args.x.sizes[0], row_block, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* x = args.x.as<T>() + row * width;
        T* y = args.y.as<T>() + row * width;
        for (int64_t j = 0; j < width; ++j)
          y[j] = T(static_cast<C>(x[j]) * factors[j] + (bias ? static_cast<C>(bias[j]) : C(0)));
      }
    });
    return KernelStatus::done;
  });
}

KernelStatus scale_columns_backward(const ScaleColumnsBackwardArgs& args) {
  if (!contiguous(args.dy, args.factors) || (args.dx && !contiguous(args.dx)) ||
      (args.dfactors && !contiguous(args.x, args.dfactors)))
    return KernelStatus::unsupported;
  return visit_float(args.dy.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t rows = args.dy.sizes[0];
    const int64_t width = args.dy.sizes[1];
    const int64_t blocks = (rows + row_block - 1) / row_block;
    const C* factors = args.factors.as<C>();
    std::vector<C> partial(args.dfactors ? static_cast<size_t>(blocks * width) : 0);
    parallel_for(rows, row_block, [&](int64_t begin, int64_t end) {
      C* sums = args.dfactors ? partial.data() + begin / row_block * width : nullptr;
      for (int64_t row = begin; row < end; ++row) {
        const T* dy = args.dy.as<T>() + row * width;
        if (args.dx) {
          T* dx = args.dx.as<T>() + row * width;
          for (int64_t j = 0; j < width; ++j)
            dx[j] = T(static_cast<C>(dy[j]) * factors[j]);
        }
        if (sums == nullptr)
          continue;
        const T* x = args.x.as<T>() + row * width;
        for (int64_t j = 0; j < width; ++j)
          sums[j] += static_cast<C>(dy[j]) * static_cast<C>(x[j]);
      }
    });
    for (size_t i = 0; i < partial.size(); ++i)
      args.dfactors.as<C>()[i % static_cast<size_t>(width)] += partial[i];
    return KernelStatus::done;
  });
}

}  // namespace

void register_columns(Registry& registry) {
  registry.add<scale_columns>(scale_columns_slot, DeviceKind::cpu);
  registry.add<scale_columns_backward>(scale_columns_backward_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
