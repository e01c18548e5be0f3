// GradientTree: sums the gradients of micro-batches in an order that depends on their number alone.
//
// The micro-batches are the leaves of a binary tree, in order; neighbours are added first. Whoever
// owns an aligned range of leaves can sum it alone and the bits stay the same. Sums are made as
// soon as both halves are there, so log2(leaves) + 1 sets of gradients exist at most.
#pragma once

#include <cstdint>
#include <vector>

#include "graft/autograd/tape.h"

namespace graft::train {

class GradientTree {
 public:
  /// Adds the next leaf. The tensors are taken over and may be written. An undefined one is zero.
  void add(Grads grads);
  /// The sum of all leaves; empties the tree. Empty where nothing was added.
  Grads take();

 private:
  struct Subtree {
    int64_t leaves;
    Grads sum;
  };
  void join_last_two();

  std::vector<Subtree> subtrees_;  // fewer leaves from left to right
};

}  // namespace graft::train
