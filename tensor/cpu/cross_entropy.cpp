#include "graft/tensor/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/parallel.h"

namespace graft::cpu_kernels {
namespace {

/// One row of logits: returns its loss and leaves the gradient behind where wanted.
template <class T>
accumulator_t<T> row_loss(T* logits, int64_t width, int64_t label, bool gradient) {
  using C = accumulator_t<T>;
  C largest = static_cast<C>(logits[0]);
  for (int64_t j = 1; j < width; ++j)
    largest = std::max(largest, static_cast<C>(logits[j]));
  // f64: f32 sums over a vocabulary of 150,000 lose four bits.
  double total = 0;
  for (int64_t j = 0; j < width; ++j)
    total += std::exp(static_cast<C>(logits[j]) - largest);
  // Differences from the largest logit first: beside a logit of 1000, log(total) has 14 bits left.
  const C log_total = static_cast<C>(std::log(total));
  const C loss = log_total - (static_cast<C>(logits[label]) - largest);
  if (gradient) {
    for (int64_t j = 0; j < width; ++j)
      logits[j] = T(std::exp(static_cast<C>(logits[j]) - largest - log_total) - C(j == label));
  }
  return loss;
}

KernelStatus cross_entropy(const CrossEntropyArgs& args) {
  if (!contiguous(args.logits, args.labels, args.loss))
    return KernelStatus::unsupported;
  return visit_float(args.logits.dtype, [&]<class T>() {
    const int64_t width = args.logits.sizes[1];
    parallel_for(args.logits.sizes[0], 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        args.loss.as<accumulator_t<T>>()[row] =
            row_loss(args.logits.as<T>() + row * width, width, args.labels.as<int64_t>()[row],
                     args.gradient);
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_cross_entropy(Registry& registry) {
  registry.add<cross_entropy>(cross_entropy_slot, DeviceKind::cpu);
}

}  // namespace graft::cpu_kernels
