#include "graft/cli/merge_check.h"

#include <algorithm>
#include <cmath>

#include "graft/autograd/tape.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::cli {
namespace {

Tensor probe_ids(const nn::ModelInfo& info) {
  constexpr int64_t rows = 4;
  const int64_t length = std::min<int64_t>(32, info.max_positions);
  Tensor ids = Tensor::empty({rows, length}, DType::i64);
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int64_t>()[i] = (i * 7919 + i * i * 31 + 17) % info.vocab_size;
  return ids;
}

/// (tokens, vocabulary) in f32.
Tensor logits_of(const nn::CausalLM& model, const Tensor& ids) {
  const NoGrad no_grad;
  const Tensor logits = model.logits(ids, {}).value().to(DType::f32);
  return logits.view({ids.numel(), -1});
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  const auto x = a.span<float>();
  const auto y = b.span<float>();
  for (size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::fabs(double{x[i]} - y[i]));
  return largest;
}

double distance(const Tensor& a, const Tensor& b) {
  return std::sqrt(ops::sum_of_squares(ops::add(a, b, -1)));
}

int64_t likeliest(const Tensor& logits, int64_t row) {
  const auto width = static_cast<size_t>(logits.dim(1));
  const auto values = logits.span<float>().subspan(static_cast<size_t>(row) * width, width);
  return std::ranges::max_element(values) - values.begin();
}

}  // namespace

MergeCheck::MergeCheck(peft::PeftModel& model)
    : ids_(probe_ids(model.info())), apart_(logits_of(model, ids_)) {
  const auto off = model.disable_adapter();
  base_ = logits_of(model, ids_);
}

Verification MergeCheck::compare(const nn::CausalLM& merged) const {
  const Tensor logits = logits_of(merged, ids_);
  const double effect = distance(base_, apart_);
  Verification found{.difference = largest_difference(logits, apart_),
                     .effect = largest_difference(base_, apart_),
                     .largest = largest_difference(apart_, Tensor::zeros(apart_.shape())),
                     .lost = effect > 0 ? distance(logits, apart_) / effect : 0,
                     .tokens = logits.dim(0)};
  for (int64_t row = 0; row < found.tokens; ++row)
    found.agreeing += likeliest(logits, row) == likeliest(apart_, row);
  return found;
}

}  // namespace graft::cli
