#include "graft/peft/merge.h"

#include <algorithm>
#include <utility>

#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// start + change in `dtype`; either may be undefined. Takes the change's storage.
Tensor rounded_sum(const Tensor& start, Tensor change, DType dtype) {
  if (!start.defined())
    return change.to(dtype);
  if (!change.defined())
    return start.to(dtype);
  ops::add_(change, start);
  return change.to(dtype);
}

/// Where base and adapters are finite, their sum may still be beyond a format of 16 bits.
void check_sum(const Tensor& sum, std::string_view what, const MergeRequest& request) {
  GRAFT_CHECK(!sum.defined() || ops::all_finite(sum), NonFiniteError, "merge: the ", what, " of ",
              request.path, " with its adapters is not finite in ", sum.dtype(),
              "; nothing was changed");
}

Tensor start_of(nn::Member& parameter, const MergeRequest& request) {
  return overridden_value(parameter,
                          request.with_overrides ? override_of(parameter, request.names) : nullptr);
}

Tensor merged_weight(nn::Weight& weight, const std::vector<NamedDelta>& deltas,
                     const MergeRequest& request) {
  Tensor sum = rounded_sum(start_of(weight, request), change_of_weight(deltas), weight.dtype());
  check_sum(sum, "weight", request);
  return sum;
}

}  // namespace

const nn::Override* override_of(nn::Member& parameter, const std::vector<std::string>& names) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = names};
  const nn::Overrides* overrides = parameter.overrides();
  return overrides == nullptr ? nullptr : overrides->chosen(context);
}

Tensor overridden_value(nn::Member& parameter, const nn::Override* override_) {
  const Tensor value = parameter.value();
  const DType dtype = accumulator_dtype(value.dtype());
  if (override_ == nullptr)
    return value.to(dtype);
  if (override_->is_whole())
    return override_->value.value().to(dtype);
  Tensor changed = value.to(dtype).clone();
  const auto rows = override_->rows.span<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto from = static_cast<int64_t>(i);
    Tensor row = changed.slice(0, rows[i], rows[i] + 1);
    ops::copy_(row, override_->value.value().slice(0, from, from + 1));
  }
  return changed;
}

std::unique_ptr<nn::Linear> merged_linear(nn::Linear& base, const std::vector<NamedDelta>& deltas,
                                          const MergeRequest& request) {
  check_finite(deltas, request.path);
  const Tensor weight = merged_weight(base.weight(), deltas, request);
  Tensor bias = change_of_bias(deltas);
  if (base.bias() != nullptr)
    bias = rounded_sum(start_of(*base.bias(), request), bias, base.bias()->value().dtype());
  else if (bias.defined())
    bias = bias.to(weight.dtype());
  check_sum(bias, "bias", request);
  auto layer = std::make_unique<nn::Linear>(base.in_features(), base.out_features(), bias.defined(),
                                            base.file_layout());
  layer->weight().load(weight);
  if (bias.defined())
    layer->bias()->load(bias);
  if (base.weight().variable() == nullptr)
    layer->pack();
  return layer;
}

std::unique_ptr<nn::Embedding> merged_embedding(nn::Embedding& base,
                                                const std::vector<NamedDelta>& deltas,
                                                const MergeRequest& request) {
  check_finite(deltas, request.path);
  auto layer = std::make_unique<nn::Embedding>(base.rows(), base.features());
  layer->weight().load(merged_weight(base.weight(), deltas, request));
  return layer;
}

}  // namespace graft::peft
