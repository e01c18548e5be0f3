#include "graft/train/gradient_tree.h"

#include <utility>

#include "graft/autograd/engine.h"

namespace graft::train {
namespace {

/// left += right, in place where nobody else can see it.
void add_into(Grads& left, const Grads& right) {
  for (size_t i = 0; i < left.size(); ++i) {
    if (right[i].defined())
      accumulate_grad(left[i], right[i]);
  }
}

}  // namespace

void GradientTree::add(Grads grads) {
  GRAFT_CHECK(subtrees_.empty() || subtrees_.back().sum.size() == grads.size(), ShapeError,
              "gradient tree: ", grads.size(), " gradients given after ",
              subtrees_.empty() ? 0 : subtrees_.back().sum.size());
  subtrees_.push_back({1, std::move(grads)});
  while (subtrees_.size() > 1 && subtrees_[subtrees_.size() - 2].leaves == subtrees_.back().leaves)
    join_last_two();
}

Grads GradientTree::take() {
  while (subtrees_.size() > 1)
    join_last_two();
  Grads sum = subtrees_.empty() ? Grads() : std::move(subtrees_.back().sum);
  subtrees_.clear();
  return sum;
}

void GradientTree::join_last_two() {
  const Subtree right = std::move(subtrees_.back());
  subtrees_.pop_back();
  add_into(subtrees_.back().sum, right.sum);
  subtrees_.back().leaves += right.leaves;
}

}  // namespace graft::train
