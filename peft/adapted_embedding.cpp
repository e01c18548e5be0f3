#include "graft/peft/adapted_embedding.h"

#include "graft/autograd/columns.h"
#include "graft/autograd/embedding.h"
#include "graft/autograd/pointwise.h"
#include "graft/tensor/embedding.h"

namespace graft::peft {
namespace {

/// y (…, D) with the adapter's part added at some tokens, of which it sees the ids only.
Variable add_at(const Variable& y, const EmbeddingAdapter& adapter, const Tensor& ids,
                const nn::Context& context, const Tensor& tokens) {
  const auto all_ids = ids.span<int64_t>();
  std::vector<int64_t> some_ids;
  for (const int64_t token : tokens.span<int64_t>())
    some_ids.push_back(all_ids[static_cast<size_t>(token)]);
  const Variable added = adapter.forward(Tensor::from(some_ids, tokens.shape()), context);
  const Variable before =
      graft::embedding(view(y, {-1, added.shape()[added.value().rank() - 1]}), tokens);
  return replace_rows(y, graft::add(before, added), tokens);
}

}  // namespace

Variable AdaptedEmbedding::forward(const Tensor& ids, const nn::Context& context) const {
  const bool use_merged =
      merged_layer_applies(context, !base_->weight().overrides_under(context).empty());
  const Variable base = use_merged ? merged_->forward(ids, context) : base_->forward(ids, context);
  Variable y = base;
  for (const auto& [name, adapter] : adapters_.chosen(context)) {
    if (use_merged && is_merged(name))
      continue;
    const Tensor tokens = tokens_under(context, name, ids.shape(), ids.numel());
    const Variable gain = adapter.gain(context);
    GRAFT_CHECK(!tokens.defined() || !gain.defined(), ConfigError, "forward: the adapter \"", name,
                "\" has use_dora and cannot apply to single rows; give all rows the same adapter");
    y = to(y, accumulator_dtype(y.dtype()));
    if (tokens.defined())
      y = add_at(y, adapter, ids.contiguous(), context, tokens);
    else
      y = graft::add(y, adapter.forward(ids, context));
    if (gain.defined())
      y = scale_columns(y, gain);
  }
  return to(y, base.dtype());
}

std::unique_ptr<nn::Module> AdaptedEmbedding::make_merged(const MergeRequest& request) {
  const std::vector<std::string> here = those_here(request.names);
  const auto deltas = [this, here] { return adapters_.deltas(here, *base_); };
  check_copy(base_->weight(), request);
  return here.empty() ? nullptr : merged_embedding(*base_, deltas, request);
}

void AdaptedEmbedding::set_merged(const std::vector<std::string>& names,
                                  std::unique_ptr<nn::Module> layer) {
  set_merged_names(names);
  merged_.reset(static_cast<nn::Embedding*>(layer.release()));
}

std::unique_ptr<nn::Embedding> AdaptedEmbedding::release_base() {
  std::unique_ptr<nn::Embedding> base;
  base_.replace([&](std::unique_ptr<nn::Embedding> old) -> std::unique_ptr<nn::Embedding> {
    base = std::move(old);
    return nullptr;
  });
  return base;
}

}  // namespace graft::peft
