#include "graft/peft/merge.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <variant>

#include "graft/tensor/copy.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// start + change; either may be undefined. Takes the change's storage.
Tensor sum_of(const Tensor& start, Tensor change) {
  if (!start.defined())
    return change;
  if (!change.defined())
    return start;
  ops::add_(change, start);
  return change;
}

/// Where base and adapters are finite, their sum may still be beyond a format of 16 bits.
void check_sum(const Tensor& sum, std::string_view what, const std::string& path) {
  GRAFT_CHECK(!sum.defined() || ops::all_finite(sum), NonFiniteError, "merge: the ", what, " of ",
              path, " with its adapters is not finite in ", sum.dtype(), "; nothing was changed");
}

/// `value` in the dtype of adapters, with what overrides put in its place.
Tensor with_overrides(const Tensor& value, const nn::ChosenOverrides& overrides) {
  const DType dtype = accumulator_dtype(value.dtype());
  if (overrides.empty())
    return value.to(dtype);
  if (const nn::Override* whole = nn::whole_override(overrides))
    return whole->value.value().to(dtype);
  Tensor changed = value.to(dtype).clone();
  for (const nn::Override* override_ : overrides) {
    const auto rows = override_->rows.span<int64_t>();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto from = static_cast<int64_t>(i);
      Tensor row = changed.slice(0, rows[i], rows[i] + 1);
      ops::copy_(row, override_->value.value().slice(0, from, from + 1));
    }
  }
  return changed;
}

nn::ChosenOverrides overrides_of(nn::Member& parameter, const MergeRequest& request) {
  return request.with_overrides ? peft::overrides_of(parameter, request.names)
                                : nn::ChosenOverrides();
}

Tensor numbers_of(const Variable& w) {
  return w.value();
}
Tensor numbers_of(const PackedTensor& w) {
  return unpack(w);
}
/// As products compute with them, not rounded to what they were before.
Tensor numbers_of(const quant::QuantizedTensor& w) {
  return quant::dequantize(w, DType::f32);
}
Tensor numbers_of(const nn::WeightStorage& held) {
  return std::visit([](const auto& w) { return numbers_of(w); }, held);
}

double norm(const Tensor& x) {
  return std::sqrt(ops::sum_of_squares(x));
}

double ratio(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

/// Merges the weight of a layer; holds what this takes but for the layer itself.
class WeightMerge {
 public:
  WeightMerge(nn::Weight& weight, const MergeRequest& request)
      : weight_(weight), path_(request.path), options_(request.options), keep_(request.keep) {
    for (const nn::Override* chosen : overrides_of(weight, request))
      overrides_.push_back(*chosen);
  }

  /// As what the result is held.
  nn::WeightForm form() const {
    const nn::WeightForm base = weight_.form();
    if (options_.requantize && base.format)
      return base;
    return {options_.dtype.value_or(base.dtype)};
  }

  nn::WeightStorage run(const std::vector<NamedDelta>& deltas) const {
    const nn::WeightStorage held = weight_.storage();
    nn::ChosenOverrides chosen;
    for (const nn::Override& each : overrides_)
      chosen.push_back(&each);
    Tensor base = with_overrides(numbers_of(held), chosen).contiguous();
    const bool is_in_4_bits = std::holds_alternative<quant::QuantizedTensor>(held);
    if (is_in_4_bits && options_.original_weight)
      base = original_of(options_.original_weight, path_ + ".weight", base);
    const Tensor sum = changed_weight(base, deltas);
    nn::WeightStorage merged = in_form(sum, held);
    if (options_.on_merged)
      options_.on_merged(error_of(merged, sum, base));
    return merged;
  }

 private:
  nn::WeightStorage in_form(const Tensor& sum, const nn::WeightStorage& held) const {
    const nn::WeightForm form = this->form();
    if (!form.format) {
      const Tensor rounded = sum.to(form.dtype);
      check_sum(rounded, "weight", path_);
      return Variable(rounded);
    }
    check_sum(sum, "weight", path_);
    const auto& base = std::get<quant::QuantizedTensor>(held);
    quant::QuantizedTensor merged = quant::quantize(sum, *form.format);
    merged.dtype = base.dtype;
    merged.compute = base.compute;
    return base.layout == quant::Layout::panels ? quant::to_panels(merged) : merged;
  }

  MergeError error_of(const nn::WeightStorage& merged, const Tensor& exact,
                      const Tensor& base) const {
    const double change = norm(ops::add(exact, base, -1));
    const double error = norm(ops::add(exact, numbers_of(merged).to(exact.dtype()), -1));
    return {.path = path_ + ".weight",
            .relative = ratio(error, norm(exact)),
            .of_change = ratio(error, change)};
  }

  nn::Weight& weight_;
  std::string path_;
  MergeOptions options_;
  std::vector<nn::Override> overrides_;  // a streamed sum outlives those of the weight
  std::shared_ptr<void> keep_;
};

void load(nn::Weight& weight, const nn::WeightStorage& value) {
  if (const auto* quantized = std::get_if<quant::QuantizedTensor>(&value))
    weight.load(*quantized);
  else
    weight.load(std::get<Variable>(value).value());
}

/// Gives a new layer the merged weight of the base; `found` is what deltas() gives now.
void merge_weight(nn::Weight& base, nn::Weight& weight, const Deltas& deltas,
                  const std::vector<NamedDelta>& found, const MergeRequest& request) {
  const WeightMerge merge(base, request);
  if (base.is_streamed())
    weight.stream(merge.form(), [merge, deltas] { return merge.run(deltas()); });
  else
    load(weight, merge.run(found));
}

Tensor merged_bias(nn::Linear& base, const std::vector<NamedDelta>& deltas, DType of_weight,
                   const MergeRequest& request) {
  nn::Parameter* held = base.bias();
  Tensor sum = change_of_bias(deltas);
  if (held != nullptr)
    sum = sum_of(overridden_value(*held, overrides_of(*held, request)), sum);
  if (sum.defined())
    sum = sum.to(request.options.dtype.value_or(held ? held->value().dtype() : of_weight));
  check_sum(sum, "bias", request.path);
  return sum;
}

}  // namespace

nn::ChosenOverrides overrides_of(nn::Member& parameter, const std::vector<std::string>& names) {
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = names};
  const nn::Overrides* overrides = parameter.overrides();
  return overrides == nullptr ? nn::ChosenOverrides() : overrides->chosen(context);
}

Tensor overridden_value(nn::Member& parameter, const nn::ChosenOverrides& overrides) {
  return with_overrides(parameter.value(), overrides);
}

std::unique_ptr<nn::Linear> merged_linear(nn::Linear& base, const Deltas& deltas,
                                          const MergeRequest& request) {
  const std::vector<NamedDelta> found = deltas();
  check_finite(found, request.path);
  const Tensor bias = merged_bias(base, found, base.weight().dtype(), request);
  auto layer = std::make_unique<nn::Linear>(base.in_features(), base.out_features(), bias.defined(),
                                            base.file_layout());
  merge_weight(base.weight(), layer->weight(), deltas, found, request);
  if (bias.defined())
    layer->bias()->load(bias);
  if (base.weight().variable() == nullptr && !base.weight().is_streamed())
    layer->pack();
  return layer;
}

std::unique_ptr<nn::Embedding> merged_embedding(nn::Embedding& base, const Deltas& deltas,
                                                const MergeRequest& request) {
  const std::vector<NamedDelta> found = deltas();
  check_finite(found, request.path);
  auto layer = std::make_unique<nn::Embedding>(base.rows(), base.features());
  merge_weight(base.weight(), layer->weight(), deltas, found, request);
  return layer;
}

}  // namespace graft::peft
