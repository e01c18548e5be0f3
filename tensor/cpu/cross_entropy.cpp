#include "graft/tensor/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/families.h"
#include "graft/tensor/cpu/vectors.h"
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

/// As row_loss.
template <class T>
float row_loss_vectors(const Rows<T>& rows, T* logits, int64_t width, int64_t label,
                       bool gradient) {
  const float largest = rows.largest(logits, width);
  const auto log_total =
      static_cast<float>(std::log(rows.sum_of_exponentials(logits, largest, width)));
  using Number = std::conditional_t<std::is_same_v<T, float>, float, bf16>;
  Number* of_label = reinterpret_cast<Number*>(logits + label);
  const float difference = static_cast<float>(*of_label) - largest;
  if (gradient) {
    rows.softmax(logits, largest, log_total, width);
    *of_label = Number(std::exp(difference - log_total) - 1);
  }
  return log_total - difference;
}

template <Isa isa>
KernelStatus cross_entropy_vectors(const CrossEntropyArgs& args) {
  if (!contiguous(args.logits, args.labels, args.loss))
    return KernelStatus::unsupported;
  return visit_rows<isa>(args.logits.dtype, [&]<class T>(const Rows<T>& rows) {
    const int64_t width = args.logits.sizes[1];
    parallel_for(args.logits.sizes[0], 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        args.loss.as<float>()[row] =
            row_loss_vectors(rows, numbers<T>(args.logits) + row * width, width,
                             args.labels.as<int64_t>()[row], args.gradient);
    });
  });
}

}  // namespace

void register_cross_entropy(Registry& registry) {
  registry.add<cross_entropy>(cross_entropy_slot, DeviceKind::cpu);
  for_each_row_isa([&]<Isa isa>(const char* name) {
    registry.add<cross_entropy_vectors<isa>>(cross_entropy_slot, DeviceKind::cpu, name);
  });
}

}  // namespace graft::cpu_kernels
