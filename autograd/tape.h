// The tape: how operations with gradients are recorded, and what they keep for backward.
//
// An operation stands with its gradient beside it:
//
//   Variable silu(const Variable& x) {
//     return record("silu", ops::silu(x.value()), {x},
//                   [x = save(x)](const Grads& dy, Needs) -> Grads {
//                     return {ops::silu_backward(dy[0], *x)};
//                   });
//   }
//
// What closures keep are Tensors, without a place on the tape: there are no cycles, and backward
// cannot record itself. Only the closure of checkpoint() holds Variables, those that its block
// captured; they are leaves, which lead nowhere, so there is no cycle either.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "graft/autograd/variable.h"

namespace graft {

/// Gradients, one per output (given to a closure) or per input (returned by it). An undefined
/// tensor means zero or not needed.
using Grads = std::vector<Tensor>;

/// Which inputs need a gradient.
class Needs {
 public:
  explicit Needs(std::vector<bool> needed) : needed_(std::move(needed)) {}
  bool operator[](size_t input) const { return needed_[input]; }

 private:
  std::vector<bool> needed_;
};

using Backward = std::function<Grads(const Grads& dy, const Needs& needs)>;

/// A value that backward makes again. The variable and whatever saved it share it: it is made once
/// and freed with the last of them.
class Remade {
 public:
  explicit Remade(std::function<Tensor()> make) : make_(std::move(make)) {}
  const Tensor& value();

 private:
  std::function<Tensor()> make_;
  Tensor value_;
};

/// A tensor kept for backward. Its storage counts in MemoryStats::saved, once however often saved.
/// Of a variable with remade() only the way to make it is kept.
class Saved {
 public:
  explicit Saved(Tensor tensor);
  explicit Saved(const Variable& variable);
  Saved(const Saved& other);
  Saved(Saved&& other) noexcept = default;
  Saved& operator=(const Saved&) = delete;
  Saved& operator=(Saved&&) = delete;
  ~Saved();
  const Tensor& operator*() const { return remade_ ? remade_->value() : tensor_; }
  const Tensor* operator->() const { return &**this; }

 private:
  Tensor tensor_;
  std::shared_ptr<Remade> remade_;
};

/// Keeps a tensor for backward.
Saved save(const Tensor& tensor);
Saved save(const Variable& variable);
/// Keeps it where `wanted`, else keeps an undefined tensor.
Saved save_if(bool wanted, const Tensor& tensor);
Saved save_if(bool wanted, const Variable& variable);

/// `y`, the result of an operation that costs little and whose inputs are kept anyway: what saves
/// it does not keep its value, but the way to make that again. `make` gives the same bits and holds
/// the inputs as Saved. Without effect where y needs no gradient, and where an input is to be made
/// again itself: there would be no end to what depends on what.
Variable remake_in_backward(Variable y, const std::vector<Variable>& inputs,
                            std::function<Tensor()> make);

/// True where gradients are recorded (no NoGrad is alive in this thread) and `variable` needs one.
bool needs_grad(const Variable& variable);

/// Puts an operation on the tape and returns its output; only the value where no input needs a
/// gradient. `name` is a string literal.
Variable record(const char* name, Tensor output, std::vector<Variable> inputs, Backward backward);
/// The same with several outputs. A closure gets an undefined tensor for an output nobody used.
std::vector<Variable> record(const char* name, std::vector<Tensor> outputs,
                             std::vector<Variable> inputs, Backward backward);
/// Records even where no input needs a gradient: what runs in the closure may reach leaves.
Variable record_always(const char* name, Tensor output, std::vector<Variable> inputs,
                       Backward backward);

/// Switches recording off in this thread while it lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();

/// A node of the tape: a closure with its edges, or a leaf with its gradient.
class Node {
 public:
  Node(const char* name, std::vector<Edge> inputs, size_t outputs, Backward backward);
  /// A leaf.
  Node();
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const char* name() const { return name_; }
  const std::vector<Edge>& inputs() const { return inputs_; }
  bool is_leaf() const { return leaf_; }

 private:
  friend class Engine;
  friend class Variable;
  const char* name_;
  uint64_t sequence_;
  std::vector<Edge> inputs_;
  size_t outputs_;
  Backward backward_;
  Tensor grad_;  // leaves only
  bool leaf_;
};

}  // namespace graft
