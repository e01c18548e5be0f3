#include "graft/peft/adapted_linear.h"

#include <optional>
#include <utility>
#include <vector>

#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"

namespace graft::peft {
namespace {

int64_t tokens_of(const Variable& x) {
  return x.shape().numel() / std::max<int64_t>(x.shape()[x.value().rank() - 1], 1);
}

/// y (…, out) + addend (out) at some tokens.
Variable add_bias(const Variable& y, const Variable& addend, const Tensor& tokens) {
  const Variable rows = graft::embedding(view(y, {-1, addend.shape()[0]}), tokens);
  const Variable ones(Tensor::full({tokens.numel(), 1}, 1, addend.dtype()));
  const Variable added = linear(ones, view(addend, {-1, 1}), {});
  return replace_rows(y, to(add(to(rows, addend.dtype()), added), y.dtype()), tokens);
}

/// What adapters add on top of the base, sorted by how.
struct Contributions {
  std::vector<LowRank> terms;
  Variable bias;                                    // for all rows
  std::vector<std::pair<Variable, Tensor>> biases;  // for some tokens
  std::vector<const Adapter*> others;               // no low-rank terms

  void add(const Adapter& adapter, const nn::Context& context, const Tensor& tokens) {
    std::optional<LowRank> term = adapter.low_rank(context);
    if (!term) {
      GRAFT_CHECK(!tokens.defined(), ConfigError,
                  "forward: an adapter of a kind that is no product of two small matrices cannot "
                  "apply to single rows; give all rows the same adapter");
      others.push_back(&adapter);
      return;
    }
    term->rows = tokens;
    terms.push_back(std::move(*term));
    const Variable added = adapter.bias();
    if (added.defined() && tokens.defined())
      biases.emplace_back(added, tokens);
    else if (added.defined())
      bias = bias.defined() ? graft::add(bias, added) : added;
  }
};

}  // namespace

Variable AdaptedLinear::forward(const Variable& x, const nn::Context& context) const {
  const bool use_merged = merged_layer_applies(context, base_->is_overridden(context));
  const nn::Linear& layer = use_merged ? *merged_ : *base_;
  Contributions added;
  for (const auto& [name, adapter] : adapters_.chosen(context)) {
    if (use_merged && is_merged(name))
      continue;
    const Tensor tokens = tokens_under(context, name, x.shape(), tokens_of(x));
    if (!tokens.defined() || tokens.numel() > 0)
      added.add(adapter, context, tokens);
  }
  Variable y = layer.forward(x, context, {.terms = added.terms, .bias = added.bias});
  for (const auto& [bias, tokens] : added.biases)
    y = add_bias(y, bias, tokens);
  for (const Adapter* adapter : added.others)
    y = graft::add(y, adapter->forward(x, *base_, context));
  return y;
}

std::unique_ptr<nn::Module> AdaptedLinear::make_merged(const MergeRequest& request) {
  std::vector<NamedDelta> deltas;
  for (const std::string& name : request.names) {
    if (const Adapter* adapter = find(name))
      deltas.push_back({name, adapter->delta(*base_)});
  }
  return deltas.empty() ? nullptr : merged_linear(*base_, deltas, request);
}

void AdaptedLinear::set_merged(const std::vector<std::string>& names,
                               std::unique_ptr<nn::Module> layer) {
  set_merged_names(names);
  merged_.reset(static_cast<nn::Linear*>(layer.release()));
}

std::unique_ptr<nn::Linear> AdaptedLinear::release_base() {
  std::unique_ptr<nn::Linear> base;
  base_.replace([&](std::unique_ptr<nn::Linear> old) -> std::unique_ptr<nn::Linear> {
    base = std::move(old);
    return nullptr;
  });
  return base;
}

}  // namespace graft::peft
