#include "graft/autograd/variable.h"

#include <utility>

#include "graft/autograd/engine.h"
#include "graft/autograd/tape.h"

namespace graft {

Variable::Variable(Tensor value, bool requires_grad)
    : state_(std::make_shared<State>(State{std::move(value), {}})) {
  set_requires_grad(requires_grad);
}

Variable::Variable(Tensor value, Edge edge)
    : state_(std::make_shared<State>(State{std::move(value), std::move(edge)})) {}

bool Variable::is_leaf() const {
  return state_->edge.node == nullptr || state_->edge.node->is_leaf();
}

void Variable::set_requires_grad(bool required) {
  GRAFT_CHECK(is_leaf(), Error, "set_requires_grad: ", shape(), " is the result of an operation");
  if (required == requires_grad())
    return;
  state_->edge = required ? Edge{std::make_shared<Node>(), 0} : Edge{};
}

void Variable::set_value(Tensor value) {
  GRAFT_CHECK(is_leaf(), Error, "set_value: ", shape(), " is the result of an operation");
  state_->value = std::move(value);
}

Tensor& Variable::mutable_value() {
  GRAFT_CHECK(is_leaf(), Error, "mutable_value: ", shape(), " is the result of an operation");
  return state_->value;
}

Tensor Variable::grad() const {
  return requires_grad() && is_leaf() ? state_->edge.node->grad_ : Tensor();
}

Tensor Variable::take_grad() {
  return requires_grad() && is_leaf() ? std::exchange(state_->edge.node->grad_, Tensor())
                                      : Tensor();
}

void Variable::backward(Tensor seed) const {
  GRAFT_CHECK(requires_grad(), Error,
              "backward: no gradient was recorded; no input requires one, or NoGrad was active");
  run_backward(*this, seed.defined() ? std::move(seed) : Tensor::full(shape(), 1, dtype()));
}

}  // namespace graft
