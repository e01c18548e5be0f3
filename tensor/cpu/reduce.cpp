#include "graft/tensor/reduce.h"

#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Elements whose partial sum is one term of the total.
constexpr int64_t block = 1 << 12;

KernelStatus sum(const SumArgs& args) {
  if (!contiguous(args.x) || args.y.dtype != DType::f64)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const T* x = args.x.as<T>();
    const int64_t n = args.x.numel();
    std::vector<double> partial(static_cast<size_t>((n + block - 1) / block));
    parallel_for(n, block, [&](int64_t begin, int64_t end) {
      // Four running sums: shorter chains of additions, and room for vector code.
      double sums[4] = {};
      for (int64_t i = begin; i < end; ++i) {
        const double value = static_cast<double>(static_cast<C>(x[i]));
        sums[i & 3] += args.squares ? value * value : value;
      }
      partial[static_cast<size_t>(begin / block)] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    });
    double total = 0;
    for (const double value : partial)
      total += value;
    *args.y.as<double>() = total;
    return KernelStatus::done;
  });
}

KernelStatus sum_rows(const SumRowsArgs& args) {
  if (!contiguous(args.x, args.y) || args.x.dtype != args.y.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t rows = args.x.sizes[0];
    const int64_t width = args.x.sizes[1];
    constexpr int64_t columns = 256;
    parallel_for(width, columns, [&](int64_t begin, int64_t end) {
      C sums[columns] = {};
      for (int64_t row = 0; row < rows; ++row) {
        const T* x = args.x.as<T>() + row * width;
        for (int64_t j = begin; j < end; ++j)
          sums[j - begin] += static_cast<C>(x[j]);
      }
      for (int64_t j = begin; j < end; ++j)
        args.y.as<T>()[j] = T(sums[j - begin]);
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_reduce(Registry& registry) {
  registry.add<sum>(sum_slot, DeviceKind::cpu);
  registry.add<sum_rows>(sum_rows_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
