// The engine: walks the tape backwards.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "graft/autograd/variable.h"

namespace graft {

/// A leaf and what one backward pass contributes to its gradient.
struct LeafGradient {
  std::shared_ptr<Node> leaf;
  Tensor grad;
};

/// Runs backward from `root` with gradient `seed` and adds to the gradients of the leaves. Inside
/// the closure of another backward pass, the leaves' gradients go where those of that pass go.
void run_backward(const Variable& root, Tensor seed);

/// The same, but returns the contributions and leaves the leaves alone; in the order in which the
/// leaves were first reached.
std::vector<LeafGradient> leaf_gradients(const Variable& root, Tensor seed);

/// Runs backward from `root` and returns the gradient of `input`, a leaf; all other leaves get
/// theirs as in run_backward().
Tensor run_backward_to(const Variable& root, Tensor seed, const Variable& input);

/// Adds `grad` to the running sum `into`: in place where nobody else can see it.
void accumulate_grad(Tensor& into, const Tensor& grad);

}  // namespace graft
