#include "graft/tensor/embedding.h"

#include <algorithm>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

KernelStatus embedding(const EmbeddingArgs& args) {
  if (!contiguous(args.table, args.ids, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.table.dtype, [&]<class T>() {
    const int64_t width = args.table.sizes[1];
    parallel_for(args.ids.sizes[0], 64, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token)
        std::copy_n(args.table.as<T>() + args.ids.as<int64_t>()[token] * width, width,
                    args.y.as<T>() + token * width);
    });
    return KernelStatus::done;
  });
}

/// Parallel over columns: tokens add up in order whatever the number of threads.
KernelStatus embedding_backward(const EmbeddingBackwardArgs& args) {
  if (!contiguous(args.dy, args.ids, args.dtable))
    return KernelStatus::unsupported;
  return visit_float(args.dy.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    const int64_t width = args.dy.sizes[1];
    parallel_for(width, 128, [&](int64_t begin, int64_t end) {
      for (int64_t token = 0; token < args.ids.sizes[0]; ++token) {
        const T* dy = args.dy.as<T>() + token * width;
        T* row = args.dtable.as<T>() + args.ids.as<int64_t>()[token] * width;
        for (int64_t j = begin; j < end; ++j)
          row[j] = T(static_cast<C>(row[j]) + static_cast<C>(dy[j]));
      }
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_embedding(Registry& registry) {
  registry.add<embedding>(embedding_slot, DeviceKind::cpu);
  registry.add<embedding_backward>(embedding_backward_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
