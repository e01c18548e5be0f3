#include "graft/tensor/norm.h"

#include <cmath>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Rows of one block. Partial weight gradients are per block, so this fixes their order of
/// summation.
constexpr int64_t row_block = 32;

KernelStatus rms_norm(const RmsNormArgs& args) {
  if (!contiguous(args.x, args.weight, args.y, args.rstd) || args.weight.dtype != args.x.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.x.sizes[1];
    const T* weight = args.weight.as<T>();
    parallel_for(args.x.sizes[0], row_block, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* x = args.x.as<T>() + row * width;
        T* y = args.y.as<T>() + row * width;
        C squares = 0;
        for (int64_t j = 0; j < width; ++j)
          squares += static_cast<C>(x[j]) * static_cast<C>(x[j]);
        const C rstd = 1 / std::sqrt(squares / static_cast<C>(width) + static_cast<C>(args.eps));
        args.rstd.as<C>()[row] = rstd;
        for (int64_t j = 0; j < width; ++j)
          y[j] = T(static_cast<C>(x[j]) * rstd * static_cast<C>(weight[j]));
      }
    });
    return KernelStatus::done;
  });
}

/// With n = x · rstd: dx = rstd (dn - n · mean(dn · n)), dn = dy · weight; dweight = Σ rows dy · n.
KernelStatus rms_norm_backward(const RmsNormBackwardArgs& args) {
  if (!contiguous(args.dy, args.x, args.weight, args.rstd, args.dx))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t rows = args.x.sizes[0];
    const int64_t width = args.x.sizes[1];
    const int64_t blocks = (rows + row_block - 1) / row_block;
    const T* weight = args.weight.as<T>();
    std::vector<C> partial(args.dweight ? static_cast<size_t>(blocks * width) : 0);
    parallel_for(rows, row_block, [&](int64_t begin, int64_t end) {
      C* dweight = args.dweight ? partial.data() + begin / row_block * width : nullptr;
      for (int64_t row = begin; row < end; ++row) {
        const T* dy = args.dy.as<T>() + row * width;
        const T* x = args.x.as<T>() + row * width;
        T* dx = args.dx.as<T>() + row * width;
        const C rstd = args.rstd.as<C>()[row];
        C dot = 0;
        for (int64_t j = 0; j < width; ++j)
          dot += static_cast<C>(dy[j]) * static_cast<C>(weight[j]) * static_cast<C>(x[j]);
        const C shift = dot * rstd * rstd * rstd / static_cast<C>(width);
        for (int64_t j = 0; j < width; ++j)
          dx[j] = T(static_cast<C>(dy[j]) * static_cast<C>(weight[j]) * rstd -
                    static_cast<C>(x[j]) * shift);
        if (dweight == nullptr)
          continue;
        for (int64_t j = 0; j < width; ++j)
          dweight[j] += static_cast<C>(dy[j]) * static_cast<C>(x[j]) * rstd;
      }
    });
    if (!args.dweight)
      return KernelStatus::done;
    for (int64_t j = 0; j < width; ++j) {
      C total = 0;
      for (int64_t b = 0; b < blocks; ++b)
        total += partial[static_cast<size_t>(b * width + j)];
      args.dweight.as<T>()[j] = T(total);
    }
    return KernelStatus::done;
  });
}

}  // namespace

void register_norm(Registry& registry) {
  registry.add<rms_norm>(rms_norm_slot, DeviceKind::cpu);
  registry.add<rms_norm_backward>(rms_norm_backward_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
