#include "graft/autograd/tape.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace graft {
namespace {

thread_local bool no_grad = false;

/// Nodes are numbered in the order of recording; backward visits them in descending order.
uint64_t next_sequence() {
  static std::atomic<uint64_t> counter{0};
  return counter.fetch_add(1, std::memory_order_relaxed);
}

std::vector<Edge> edges_of(const std::vector<Variable>& inputs) {
  std::vector<Edge> edges;
  edges.reserve(inputs.size());
  for (const Variable& input : inputs)
    edges.push_back(input.defined() ? input.edge() : Edge{});
  return edges;
}

}  // namespace

const Tensor& Remade::value() {
  if (!value_.defined())
    value_ = make_();
  return value_;
}

Saved::Saved(Tensor tensor) : tensor_(std::move(tensor)) {
  if (tensor_.defined())
    tensor_.storage()->add_saved();
}

Saved::Saved(const Variable& variable) : Saved(variable.remade() ? Tensor() : variable.value()) {
  remade_ = variable.remade();
}

Saved::Saved(const Saved& other) : Saved(other.tensor_) {
  remade_ = other.remade_;
}

Saved::~Saved() {
  if (tensor_.defined())
    tensor_.storage()->remove_saved();
}

Saved save(const Tensor& tensor) {
  return Saved(tensor);
}
Saved save(const Variable& variable) {
  return Saved(variable);
}
Saved save_if(bool wanted, const Tensor& tensor) {
  return Saved(wanted ? tensor : Tensor());
}
Saved save_if(bool wanted, const Variable& variable) {
  return wanted && variable.defined() ? Saved(variable) : Saved(Tensor());
}

Variable remake_in_backward(Variable y, const std::vector<Variable>& inputs,
                            std::function<Tensor()> make) {
  const bool depends =
      std::ranges::any_of(inputs, [](const Variable& input) { return input.remade() != nullptr; });
  if (y.requires_grad() && !depends)
    y.set_remade(std::make_shared<Remade>(std::move(make)));
  return y;
}

bool needs_grad(const Variable& variable) {
  return !no_grad && variable.requires_grad();
}

std::vector<Variable> record(const char* name, std::vector<Tensor> outputs,
                             std::vector<Variable> inputs, Backward backward) {
  std::shared_ptr<Node> node;
  if (std::ranges::any_of(inputs, needs_grad))
    node = std::make_shared<Node>(name, edges_of(inputs), outputs.size(), std::move(backward));
  std::vector<Variable> results;
  for (size_t i = 0; i < outputs.size(); ++i)
    results.emplace_back(std::move(outputs[i]), node ? Edge{node, static_cast<int>(i)} : Edge{});
  return results;
}

Variable record(const char* name, Tensor output, std::vector<Variable> inputs, Backward backward) {
  if (std::ranges::none_of(inputs, needs_grad))
    return Variable(std::move(output));
  return record_always(name, std::move(output), std::move(inputs), std::move(backward));
}

Variable record_always(const char* name, Tensor output, std::vector<Variable> inputs,
                       Backward backward) {
  if (no_grad)
    return Variable(std::move(output));
  return Variable(std::move(output),
                  Edge{std::make_shared<Node>(name, edges_of(inputs), 1, std::move(backward)), 0});
}

NoGrad::NoGrad() : before_(std::exchange(no_grad, true)) {}
NoGrad::~NoGrad() {
  no_grad = before_;
}
bool grad_enabled() {
  return !no_grad;
}

Node::Node(const char* name, std::vector<Edge> inputs, size_t outputs, Backward backward)
    : name_(name),
      sequence_(next_sequence()),
      inputs_(std::move(inputs)),
      outputs_(outputs),
      backward_(std::move(backward)),
      leaf_(false) {}

Node::Node() : name_("leaf"), sequence_(next_sequence()), outputs_(1), leaf_(true) {}

Node::~Node() {
  // A long chain would be freed by recursion, one frame a node; take it apart here instead.
  std::vector<Edge> pending = std::move(inputs_);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back().node);
    pending.pop_back();
    if (node && node.use_count() == 1) {
      std::ranges::move(node->inputs_, std::back_inserter(pending));
      node->inputs_.clear();
    }
  }
}

}  // namespace graft
