#include "graft/peft/adapted_linear.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "graft/autograd/columns.h"
#include "graft/autograd/embedding.h"
#include "graft/autograd/low_rank.h"
#include "graft/autograd/pointwise.h"
#include "graft/peft/base_bias.h"

namespace graft::peft {
namespace {

int64_t tokens_of(const Variable& x) {
  return x.shape().numel() / std::max<int64_t>(x.shape()[x.value().rank() - 1], 1);
}

/// y (…, out) + addend (out) at some tokens; at all where they are undefined.
Variable add_bias(const Variable& y, const Variable& addend, const Tensor& tokens) {
  if (!tokens.defined()) {
    const Variable ones(Tensor::full(addend.shape(), 1, accumulator_dtype(y.dtype())));
    return scale_columns(y, ones, to(addend, y.dtype()));
  }
  const Variable rows = graft::embedding(view(y, {-1, addend.shape()[0]}), tokens);
  const Variable ones(Tensor::full({tokens.numel(), 1}, 1, addend.dtype()));
  const Variable added = linear(ones, view(addend, {-1, 1}), {});
  return replace_rows(y, to(add(to(rows, addend.dtype()), added), y.dtype()), tokens);
}

/// Throws ConfigError where the context does not say to which tokens an adapter applies.
void check_part(const nn::Context& context, const std::string& adapter) {
  const nn::AdapterPart* part = context.adapters->part_of(adapter);
  GRAFT_CHECK(part != nullptr && part->tokens.defined(), ConfigError, "forward: \"", adapter,
              "\" applies from its invocation tokens on, and this forward does not say where they "
              "are; call the PeftModel's forward, which looks for them");
}

/// What adapters add on top of each other up to the first of them that multiplies.
struct Stage {
  std::vector<LowRank> terms{};
  Variable bias{};                                    // for all rows
  std::vector<std::pair<Variable, Tensor>> biases{};  // for some tokens
  std::vector<const Adapter*> others{};               // no low-rank terms
  Variable gain{};
};

/// What adapters make of the base's output, sorted by how.
struct Contributions {
  std::vector<Stage> stages = std::vector<Stage>(1);

  void add(const Adapter& adapter, const nn::Context& context, const Tensor& tokens) {
    if (stages.back().gain.defined())
      stages.emplace_back();
    Stage& stage = stages.back();
    std::optional<LowRank> term = adapter.low_rank(context);
    if (!term) {
      GRAFT_CHECK(!tokens.defined(), ConfigError,
                  "forward: an adapter of a kind that is no product of two small matrices cannot "
                  "apply to single rows; give all rows the same adapter");
      stage.others.push_back(&adapter);
      return;
    }
    const Variable gain = adapter.gain(context);
    GRAFT_CHECK(!tokens.defined() || !gain.defined(), ConfigError,
                "forward: an adapter with use_dora cannot apply to single rows; give all rows the "
                "same adapter");
    stage.gain = gain;
    term->rows = tokens;
    stage.terms.push_back(std::move(*term));
    if (std::optional<LowRank> taken = adapter.taken()) {
      taken->rows = tokens;
      stage.terms.push_back(std::move(*taken));
    }
    const Variable added = adapter.bias();
    if (added.defined() && tokens.defined())
      stage.biases.emplace_back(added, tokens);
    else if (added.defined())
      stage.bias = stage.bias.defined() ? graft::add(stage.bias, added) : added;
  }
};

/// What the stages make of the output of `layer`, which is the base or has some adapters in it.
Variable run(const std::vector<Stage>& stages, const Variable& x, const nn::Linear& layer,
             const nn::Linear& base, const nn::Context& context) {
  Variable y = layer.forward(x, context, {.terms = stages[0].terms, .bias = stages[0].bias});
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    for (size_t term = 0; i > 0 && term < stage.terms.size(); ++term)
      y = graft::add(y, low_rank(x, stage.terms[term]));
    if (i > 0 && stage.bias.defined())
      y = add_bias(y, stage.bias, Tensor());
    for (const auto& [bias, tokens] : stage.biases)
      y = add_bias(y, bias, tokens);
    for (const Adapter* adapter : stage.others)
      y = graft::add(y, adapter->forward(x, base, context));
    if (stage.gain.defined())
      y = scaled_but_for_bias(y, stage.gain, bias_of(base, context));
  }
  return y;
}

}  // namespace

Variable AdaptedLinear::forward(const Variable& x, const nn::Context& context) const {
  const bool use_merged = merged_layer_applies(context, base_->is_overridden(context));
  const nn::Linear& layer = use_merged ? *merged_ : *base_;
  Contributions added;
  for (const auto& [name, adapter] : adapters_.chosen(context)) {
    if (use_merged && is_merged(name))
      continue;
    if (adapter.applies_to_part())
      check_part(context, name);
    const Tensor tokens = tokens_under(context, name, x.shape(), tokens_of(x));
    if (!tokens.defined() || tokens.numel() > 0)
      added.add(adapter, context, tokens);
  }
  return run(added.stages, x, layer, *base_, context);
}

std::unique_ptr<nn::Module> AdaptedLinear::make_merged(const MergeRequest& request) {
  const std::vector<std::string> here = those_here(request.names);
  const auto deltas = [this, here] { return adapters_.deltas(here, *base_); };
  check_copy(base_->weight(), request);
  return here.empty() ? nullptr : merged_linear(*base_, deltas, request);
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
