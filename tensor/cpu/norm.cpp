#include "graft/tensor/norm.h"

#include <cmath>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/vectors.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// Rows of one block. Partial weight gradients are per block, so this fixes their order of
/// summation.
constexpr int64_t row_block = 32;

/// y (width) = Σ over blocks, in order, of partial sums (blocks, width).
template <class C, class T>
void add_blocks(const std::vector<C>& partial, T* y, int64_t width) {
  for (int64_t j = 0; j < width; ++j) {
    C total = 0;
    for (size_t i = static_cast<size_t>(j); i < partial.size(); i += static_cast<size_t>(width))
      total += partial[i];
    y[j] = T(total);
  }
}

KernelStatus rms_norm(const RmsNormArgs& args) {
  if (!contiguous(args.x, args.weight, args.y, args.rstd) || args.weight.dtype != args.x.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.x.sizes[1];
    const T* weight = args.weight.as<T>();
    const C offset = static_cast<C>(args.offset);
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
          y[j] = T(static_cast<C>(x[j]) * rstd * (offset + static_cast<C>(weight[j])));
      }
    });
    return KernelStatus::done;
  });
}

/// With n = x · rstd: dx = rstd (dn - n · mean(dn · n)), dn = dy · (offset + weight);
/// dweight = Σ rows dy · n.
KernelStatus rms_norm_backward(const RmsNormBackwardArgs& args) {
  if (!contiguous(args.dy, args.x, args.weight, args.rstd, args.dx))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t rows = args.x.sizes[0];
    const int64_t width = args.x.sizes[1];
    const int64_t blocks = (rows + row_block - 1) / row_block;
    const T* weight = args.weight.as<T>();
    const C offset = static_cast<C>(args.offset);
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
          dot +=
              static_cast<C>(dy[j]) * (offset + static_cast<C>(weight[j])) * static_cast<C>(x[j]);
        const C shift = dot * rstd * rstd * rstd / static_cast<C>(width);
        for (int64_t j = 0; j < width; ++j)
          dx[j] = T(static_cast<C>(dy[j]) * (offset + static_cast<C>(weight[j])) * rstd -
                    static_cast<C>(x[j]) * shift);
        if (dweight == nullptr)
          continue;
        for (int64_t j = 0; j < width; ++j)
          dweight[j] += static_cast<C>(dy[j]) * static_cast<C>(x[j]) * rstd;
      }
    });
    if (args.dweight)
      add_blocks(partial, args.dweight.as<T>(), width);
    return KernelStatus::done;
  });
}

KernelStatus layer_norm(const LayerNormArgs& args) {
  if (!contiguous(args.x, args.weight, args.bias, args.y, args.mean, args.rstd) ||
      args.weight.dtype != args.x.dtype || args.bias.dtype != args.x.dtype)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.x.sizes[1];
    const T* weight = args.weight.as<T>();
    const T* bias = args.bias.as<T>();
    parallel_for(args.x.sizes[0], row_block, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* x = args.x.as<T>() + row * width;
        T* y = args.y.as<T>() + row * width;
        C sum = 0;
        for (int64_t j = 0; j < width; ++j)
          sum += static_cast<C>(x[j]);
        const C mean = sum / static_cast<C>(width);
        // Squares of differences: mean(x²) - mean² would cancel where the mean is large.
        C squares = 0;
        for (int64_t j = 0; j < width; ++j)
          squares += (static_cast<C>(x[j]) - mean) * (static_cast<C>(x[j]) - mean);
        const C rstd = 1 / std::sqrt(squares / static_cast<C>(width) + static_cast<C>(args.eps));
        args.mean.as<C>()[row] = mean;
        args.rstd.as<C>()[row] = rstd;
        for (int64_t j = 0; j < width; ++j)
          y[j] = T((static_cast<C>(x[j]) - mean) * rstd * static_cast<C>(weight[j]) +
                   static_cast<C>(bias[j]));
      }
    });
    return KernelStatus::done;
  });
}

/// With n = (x - mean) · rstd: dx = rstd (dn - mean(dn) - n · mean(dn · n)), dn = dy · weight;
/// dweight = Σ rows dy · n, dbias = Σ rows dy.
KernelStatus layer_norm_backward(const LayerNormBackwardArgs& args) {
  if (!contiguous(args.dy, args.x, args.weight, args.mean, args.rstd, args.dx))
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t rows = args.x.sizes[0];
    const int64_t width = args.x.sizes[1];
    const int64_t blocks = (rows + row_block - 1) / row_block;
    const T* weight = args.weight.as<T>();
    std::vector<C> of_weight(args.dweight ? static_cast<size_t>(blocks * width) : 0);
    std::vector<C> of_bias(args.dbias ? static_cast<size_t>(blocks * width) : 0);
    parallel_for(rows, row_block, [&](int64_t begin, int64_t end) {
      const int64_t first = begin / row_block * width;
      for (int64_t row = begin; row < end; ++row) {
        const T* dy = args.dy.as<T>() + row * width;
        const T* x = args.x.as<T>() + row * width;
        T* dx = args.dx.as<T>() + row * width;
        const C mean = args.mean.as<C>()[row];
        const C rstd = args.rstd.as<C>()[row];
        C sum = 0;
        C dot = 0;
        for (int64_t j = 0; j < width; ++j) {
          const C dn = static_cast<C>(dy[j]) * static_cast<C>(weight[j]);
          sum += dn;
          dot += dn * (static_cast<C>(x[j]) - mean);
        }
        const C shift = sum / static_cast<C>(width);
        const C slope = dot * rstd * rstd / static_cast<C>(width);
        for (int64_t j = 0; j < width; ++j)
          dx[j] = T(rstd * (static_cast<C>(dy[j]) * static_cast<C>(weight[j]) - shift -
                            (static_cast<C>(x[j]) - mean) * slope));
        for (int64_t j = 0; args.dweight && j < width; ++j)
          of_weight[static_cast<size_t>(first + j)] +=
              static_cast<C>(dy[j]) * (static_cast<C>(x[j]) - mean) * rstd;
        for (int64_t j = 0; args.dbias && j < width; ++j)
          of_bias[static_cast<size_t>(first + j)] += static_cast<C>(dy[j]);
      }
    });
    if (args.dweight)
      add_blocks(of_weight, args.dweight.as<T>(), width);
    if (args.dbias)
      add_blocks(of_bias, args.dbias.as<T>(), width);
    return KernelStatus::done;
  });
}

template <Isa isa>
KernelStatus rms_norm_vectors(const RmsNormArgs& args) {
  if (!contiguous(args.x, args.weight, args.y, args.rstd) || args.weight.dtype != args.x.dtype)
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.x.dtype, [&]<class T>(const Rows<T>& rows) {
    const int64_t width = args.x.sizes[1];
    parallel_for(args.x.sizes[0], row_block, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        args.rstd.as<float>()[row] =
            rows.rms_norm(numbers<T>(args.x) + row * width, numbers<T>(args.weight),
                          static_cast<float>(args.offset), static_cast<float>(args.eps),
                          numbers<T>(args.y) + row * width, width);
    });
  });
}

template <Isa isa>
KernelStatus rms_norm_backward_vectors(const RmsNormBackwardArgs& args) {
  if (!contiguous(args.dy, args.x, args.weight, args.rstd, args.dx))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.x.dtype, [&]<class T>(const Rows<T>& rows) {
    const int64_t width = args.x.sizes[1];
    const int64_t blocks = (args.x.sizes[0] + row_block - 1) / row_block;
    std::vector<float> partial(args.dweight ? static_cast<size_t>(blocks * width) : 0);
    parallel_for(args.x.sizes[0], row_block, [&](int64_t begin, int64_t end) {
      float* dweight = args.dweight ? partial.data() + begin / row_block * width : nullptr;
      for (int64_t row = begin; row < end; ++row)
        rows.rms_norm_backward(numbers<T>(args.dy) + row * width, numbers<T>(args.x) + row * width,
                               numbers<T>(args.weight), static_cast<float>(args.offset),
                               args.rstd.as<float>()[row], numbers<T>(args.dx) + row * width,
                               dweight, width);
    });
    if (args.dweight)
      visit_float(args.dweight.dtype, [&]<class W>() {
        add_blocks(partial, args.dweight.as<W>(), width);
        return KernelStatus::done;
      });
  });
}

}  // namespace

void register_norm(Registry& registry) {
  registry.add<rms_norm>(rms_norm_slot, DeviceKind::cpu);
  registry.add<rms_norm_backward>(rms_norm_backward_slot, DeviceKind::cpu);
  registry.add<layer_norm>(layer_norm_slot, DeviceKind::cpu);
  registry.add<layer_norm_backward>(layer_norm_backward_slot, DeviceKind::cpu);
  for_each_row_isa([&]<Isa isa>(const char* name) {
    registry.add<rms_norm_vectors<isa>>(rms_norm_slot, DeviceKind::cpu, name);
    registry.add<rms_norm_backward_vectors<isa>>(rms_norm_backward_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
