#include "graft/autograd/engine.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "graft/autograd/tape.h"
#include "graft/tensor/pointwise.h"

namespace graft {

class Engine {
 public:
  /// Where leaf gradients go. A backward pass inside a closure (checkpoint) uses the sink of the
  /// pass around it.
  using Sink = std::function<void(const std::shared_ptr<Node>& leaf, const Tensor& grad)>;

  static void run(const Edge& root, Tensor seed, const Sink& sink);
  /// The sink of the pass whose closure runs in this thread; outside of any, the leaves themselves.
  static Sink enclosing_sink();

 private:
  static const Sink*& current();
  static std::vector<std::shared_ptr<Node>> reachable(const std::shared_ptr<Node>& root);
  static Grads call(Node& node, const Grads& dy);
};

const Engine::Sink*& Engine::current() {
  thread_local const Sink* sink = nullptr;
  return sink;
}

Engine::Sink Engine::enclosing_sink() {
  if (const Sink* sink = current())
    return *sink;
  return [](const std::shared_ptr<Node>& leaf, const Tensor& grad) {
    accumulate_grad(leaf->grad_, grad);
  };
}

std::vector<std::shared_ptr<Node>> Engine::reachable(const std::shared_ptr<Node>& root) {
  std::vector<std::shared_ptr<Node>> found{root};
  std::unordered_set<const Node*> seen{root.get()};
  for (size_t i = 0; i < found.size(); ++i) {
    const std::shared_ptr<Node> node = found[i];
    for (const Edge& edge : node->inputs_) {
      if (edge.node && seen.insert(edge.node.get()).second)
        found.push_back(edge.node);
    }
  }
  std::ranges::sort(found, std::greater{}, [](const auto& node) { return node->sequence_; });
  return found;
}

Grads Engine::call(Node& node, const Grads& dy) {
  GRAFT_CHECK(node.backward_ != nullptr, Error, "backward: ", node.name_,
              " was already run backward and its saved tensors are gone; run the forward again");
  std::vector<bool> needed;
  for (const Edge& input : node.inputs_)
    needed.push_back(input.node != nullptr);
  // The closure dies with this call, and the activations it keeps with it.
  const Backward backward = std::exchange(node.backward_, nullptr);
  Grads grads = backward(dy, Needs(std::move(needed)));
  GRAFT_CHECK(grads.size() == node.inputs_.size(), Error, "backward: ", node.name_, " returned ",
              grads.size(), " gradients for ", node.inputs_.size(), " inputs");
  return grads;
}

void Engine::run(const Edge& root, Tensor seed, const Sink& sink) {
  const Sink* outer = std::exchange(current(), &sink);
  const std::shared_ptr<void> restore(nullptr, [outer](void*) { current() = outer; });
  std::unordered_map<const Node*, Grads> pending;
  const auto send = [&](const Edge& edge, const Tensor& grad) {
    Grads& slots = pending[edge.node.get()];
    slots.resize(edge.node->outputs_);
    accumulate_grad(slots[static_cast<size_t>(edge.output)], grad);
  };
  send(root, seed);
  seed = Tensor();  // so that its storage can be reused or written in place
  for (const std::shared_ptr<Node>& node : reachable(root.node)) {
    const auto it = pending.find(node.get());
    if (it == pending.end())
      continue;
    const Grads dy = std::move(it->second);
    pending.erase(it);
    if (node->leaf_) {
      sink(node, dy[0]);
      continue;
    }
    const Grads grads = call(*node, dy);
    for (size_t i = 0; i < grads.size(); ++i) {
      if (node->inputs_[i].node && grads[i].defined())
        send(node->inputs_[i], grads[i]);
    }
  }
}

void run_backward(const Variable& root, Tensor seed) {
  Engine::run(root.edge(), std::move(seed), Engine::enclosing_sink());
}

Tensor run_backward_to(const Variable& root, Tensor seed, const Variable& input) {
  Tensor grad;
  const Engine::Sink outer = Engine::enclosing_sink();
  Engine::run(root.edge(), std::move(seed),
              [&](const std::shared_ptr<Node>& leaf, const Tensor& leaf_grad) {
                if (leaf == input.edge().node)
                  accumulate_grad(grad, leaf_grad);
                else
                  outer(leaf, leaf_grad);
              });
  return grad;
}

std::vector<LeafGradient> leaf_gradients(const Variable& root, Tensor seed) {
  std::vector<LeafGradient> result;
  std::unordered_map<const Node*, size_t> index;
  Engine::run(root.edge(), std::move(seed),
              [&](const std::shared_ptr<Node>& leaf, const Tensor& grad) {
                const auto [it, is_new] = index.try_emplace(leaf.get(), result.size());
                if (is_new)
                  result.push_back({leaf, {}});
                accumulate_grad(result[it->second].grad, grad);
              });
  return result;
}

void accumulate_grad(Tensor& into, const Tensor& grad) {
  if (!into.defined())
    into = grad;
  else if (into.is_unshared() && into.is_contiguous())
    ops::add_(into, grad);
  else
    into = ops::add(into, grad);
}

}  // namespace graft
