#include "graft/peft/site_delta.h"

#include <utility>

#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/merge.h"
#include "graft/tensor/pointwise.h"

namespace graft::peft {
namespace {

Tensor turned(const Tensor& x) {
  return x.defined() ? x.transpose(0, 1).contiguous() : x;
}

/// A delta without a gain: what it and its gain do to `weight` is added.
Delta summed(Delta delta, nn::Weight& weight) {
  if (!delta.gain.defined())
    return delta;
  const Tensor before = overridden_value(weight, {}).contiguous();
  Tensor change = changed_weight(before, {{"", std::move(delta)}});
  ops::add_(change, before, -1);
  return {.weight = change};
}

}  // namespace

Delta delta_at(const Site& site, const std::string& adapter) {
  if (auto* linear = dynamic_cast<AdaptedLinear*>(site.module)) {
    const Adapter* found = linear->find(adapter);
    return found == nullptr ? Delta{}
                            : summed(found->delta(linear->base()), linear->base().weight());
  }
  auto* embedding = dynamic_cast<AdaptedEmbedding*>(site.module);
  const EmbeddingAdapter* found = embedding == nullptr ? nullptr : embedding->find(adapter);
  if (found == nullptr)
    return {};
  const Delta delta = summed(found->delta(embedding->base()), embedding->base().weight());
  return {.a = turned(delta.b),
          .b = turned(delta.a),
          .scale = delta.scale,
          .weight = turned(delta.weight)};
}

}  // namespace graft::peft
