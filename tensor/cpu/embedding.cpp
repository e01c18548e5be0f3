#include "graft/tensor/embedding.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

KernelStatus embedding(const EmbeddingArgs& args) {
  if (!contiguous(args.ids, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.table.dtype, [&]<class T>() {
    const int64_t width = args.table.sizes[1];
    const int64_t step = args.table.strides[1];
    parallel_for(args.ids.sizes[0], 64, [&](int64_t begin, int64_t end) {
      for (int64_t token = begin; token < end; ++token) {
        const T* row = args.table.as<T>() + args.ids.as<int64_t>()[token] * args.table.strides[0];
        T* y = args.y.as<T>() + token * width;
        if (step == 1)
          std::copy_n(row, width, y);
        else
          for (int64_t j = 0; j < width; ++j)
            y[j] = row[j * step];
      }
    });
    return KernelStatus::done;
  });
}

/// Tokens by id, those of one id in order.
std::vector<int64_t> tokens_by_id(const int64_t* ids, int64_t tokens) {
  std::vector<int64_t> order(static_cast<size_t>(tokens));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::ranges::stable_sort(order, {}, [ids](int64_t token) { return ids[token]; });
  return order;
}

/// Each row's gradients are summed in the accumulator's type, tokens in order, and rounded once;
/// parallel over columns, so the bits do not depend on the number of threads.
KernelStatus embedding_backward(const EmbeddingBackwardArgs& args) {
  if (!contiguous(args.dy, args.ids, args.dtable))
    return KernelStatus::unsupported;
  return visit_float(args.dy.dtype, [&]<class T>() {
    using C = accumulator_t<T>;
    constexpr int64_t columns = 128;
    const int64_t width = args.dy.sizes[1];
    const int64_t* ids = args.ids.as<int64_t>();
    const std::vector<int64_t> order = tokens_by_id(ids, args.ids.sizes[0]);
    parallel_for(width, columns, [&](int64_t begin, int64_t end) {
      for (size_t first = 0, last = 0; first < order.size(); first = last) {
        T* row = args.dtable.as<T>() + ids[order[first]] * width;
        C sums[columns];
        for (int64_t j = begin; j < end; ++j)
          sums[j - begin] = static_cast<C>(row[j]);
        for (; last < order.size() && ids[order[last]] == ids[order[first]]; ++last) {
          const T* dy = args.dy.as<T>() + order[last] * width;
          for (int64_t j = begin; j < end; ++j)
            sums[j - begin] += static_cast<C>(dy[j]);
        }
        for (int64_t j = begin; j < end; ++j)
          row[j] = T(sums[j - begin]);
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
