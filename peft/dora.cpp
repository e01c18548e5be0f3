#include "graft/peft/dora.h"

#include "graft/autograd/columns.h"
#include "graft/autograd/dropout.h"
#include "graft/autograd/low_rank.h"
#include "graft/autograd/pointwise.h"
#include "graft/peft/base_bias.h"
#include "graft/tensor/error.h"

namespace graft::peft {

Magnitude::Magnitude(nn::Module& owner, const nn::Weight& weight, ChangedNorms::Of of)
    : vector_(owner, "lora_magnitude_vector",
              Shape{weight.shape()[of == ChangedNorms::Of::rows ? 0 : 1]}),
      norms_(weight, of) {}

Variable Magnitude::gain(std::span<const LowRank> changes, const nn::Context& context) const {
  GRAFT_CHECK(norms_.weight().overrides_under(context).empty(), ConfigError,
              "forward: an adapter with use_dora is on a layer of which another active adapter has "
              "a copy; use one of them at a time");
  return mul(*vector_, Variable(inverse_norms(changes)));
}

void Magnitude::initialize(std::span<const LowRank> changes) {
  const std::scoped_lock lock(mutex_);
  vector_.load(norms_.under(changes).to(changes[0].a.dtype()));
}

Tensor Magnitude::inverse_norms(std::span<const LowRank> changes) const {
  const LowRank& change = changes[0];
  const Tensor& a = change.a.value();
  const Tensor& b = change.b.value();
  const bool is_fixed = !change.a.requires_grad() && !change.b.requires_grad();
  const std::scoped_lock lock(mutex_);
  const bool is_known = a_.defined() && a_.storage() == a.storage() &&
                        b_.storage() == b.storage() && scale_ == change.scale;
  if (is_fixed && is_known)
    return inverse_;
  Tensor inverse = norms_.under(changes);
  for (double& value : inverse.span<double>())
    value = value > 0 ? 1 / value : 0;
  inverse = inverse.to(a.dtype());
  a_ = is_fixed ? a : Tensor();
  b_ = is_fixed ? b : Tensor();
  inverse_ = is_fixed ? inverse : Tensor();
  scale_ = change.scale;
  return inverse;
}

Dora::Dora(const nn::Weight& weight, const LoraOptions& options)
    : Lora(weight.shape()[1], weight.shape()[0], options),
      magnitude_(*this, weight, ChangedNorms::Of::rows) {}

std::optional<LowRank> Dora::low_rank(const nn::Context& context) const {
  return drops(context) ? std::nullopt : Lora::low_rank(context);
}

Variable Dora::gain(const nn::Context& context) const {
  return magnitude_.gain(changes(), context);
}

std::vector<LowRank> Dora::changes() const {
  std::vector<LowRank> changes{*Lora::low_rank({})};
  if (const std::optional<LowRank> out_of_weight = taken())
    changes.push_back(*out_of_weight);
  return changes;
}

/// (gain - 1) · x̃ Wᵀ + gain · scaling · x̃ Aᵀ Bᵀ, with x̃ = dropout(x) and W without what was taken
/// out of it; and that, out of the base's output.
Variable Dora::forward(const Variable& x, const nn::Linear& base,
                       const nn::Context& context) const {
  LowRank term = *Lora::low_rank(context);
  const Variable dropped = dropout(x, term.dropout);
  term.dropout = {};
  const Variable factors = gain(context);
  const Variable minus_one(Tensor::full(factors.shape(), -1, factors.dtype()));
  std::vector<LowRank> out_of_weight;
  if (const std::optional<LowRank> part = taken())
    out_of_weight.push_back(*part);
  const Variable bias = bias_of(base, context);
  const Variable whole = base.forward(dropped, context, {.terms = out_of_weight, .bias = {}});
  Variable added = add(without_bias(whole, add(factors, minus_one), bias),
                       scale_columns(graft::low_rank(dropped, term), factors));
  for (const LowRank& part : out_of_weight)
    added = add(added, graft::low_rank(x, part));
  return added;
}

Delta Dora::delta(const nn::Linear& base) const {
  Delta delta = Lora::delta(base);
  delta.gain = gain({}).value().view({-1, 1});
  return delta;
}

DoraEmbedding::DoraEmbedding(const nn::Weight& weight, int64_t r, double scaling)
    : LoraEmbedding(weight.shape()[0], weight.shape()[1], r, scaling),
      magnitude_(*this, weight, ChangedNorms::Of::columns) {}

Variable DoraEmbedding::gain(const nn::Context& context) const {
  return magnitude_.gain({{change()}}, context);
}

Delta DoraEmbedding::delta(const nn::Embedding& base) const {
  Delta delta = LoraEmbedding::delta(base);
  delta.gain = gain({}).value().view({1, -1});
  return delta;
}

}  // namespace graft::peft
