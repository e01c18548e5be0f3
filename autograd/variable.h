// Variable: a Tensor and its place on the tape.
//
// A cheap handle. The value of a recorded variable never changes; leaves are written only by
// optimizers and loaders. Gradients exist for leaves that require them and stay there until taken.
// Concurrent forwards over the same leaves are safe; backward over them is for one thread at a
// time.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "graft/tensor/tensor.h"

namespace graft {

class Node;
class Remade;

/// Which output of which node a gradient flows to; no node where none is needed.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
};

class Variable {
 public:
  /// Undefined: stands for "none", as for a missing bias.
  Variable() = default;
  /// A leaf.
  explicit Variable(Tensor value, bool requires_grad = false);
  /// An output of a recorded operation; used by record().
  Variable(Tensor value, Edge edge);

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const { return state_->value; }
  const Shape& shape() const { return value().shape(); }
  DType dtype() const { return value().dtype(); }
  bool requires_grad() const { return state_ != nullptr && state_->edge.node != nullptr; }
  bool is_leaf() const;

  /// Makes a leaf require a gradient or not, for every handle of it. Dropping the requirement drops
  /// the gradient.
  void set_requires_grad(bool required);
  /// Replaces the value of a leaf, for every handle of it.
  void set_value(Tensor value);
  /// The value of a leaf, to be written in place by an optimizer.
  Tensor& mutable_value();

  /// The accumulated gradient of a leaf, undefined where there is none.
  Tensor grad() const;
  /// grad(), leaving none behind.
  Tensor take_grad();

  /// Computes the gradients of all leaves this variable depends on, and adds them to theirs. `seed`
  /// is the gradient of the result with respect to this variable; ones where none is given. What
  /// the tape kept is freed on the way, so this can be done once.
  void backward(Tensor seed = {}) const;

  const Edge& edge() const { return state_->edge; }
  /// How backward makes the value again, nullptr where what is saved of it is kept.
  const std::shared_ptr<Remade>& remade() const { return state_->remade; }
  /// Used by remake_in_backward().
  void set_remade(std::shared_ptr<Remade> remade) { state_->remade = std::move(remade); }
  /// Identity: equal for handles of the same variable.
  const void* id() const { return state_.get(); }

 private:
  struct State {
    Tensor value;
    Edge edge;
    std::shared_ptr<Remade> remade{};
  };
  std::shared_ptr<State> state_;
};

/// A leaf under the name its numbers have in messages and files.
struct NamedVariable {
  std::string name;
  Variable variable;
};

}  // namespace graft
