#include "graft/text/jinja/syntax.h"

#include <algorithm>

namespace graft::text::jinja {
namespace {

/// Depth of the deepest of some expressions, of which some may be null.
template <class... Parts>
int deepest(const Parts&... parts) {
  return std::max({0, (parts != nullptr ? parts->depth : 0)...});
}

int deepest_of(const std::vector<ExpressionPtr>& parts) {
  int depth = 0;
  for (const ExpressionPtr& part : parts)
    depth = std::max(depth, part->depth);
  return depth;
}

template <class Key>
int deepest_of(const std::vector<std::pair<Key, ExpressionPtr>>& parts) {
  int depth = 0;
  for (const auto& [key, part] : parts)
    depth = std::max(depth, part->depth);
  return depth;
}

int depth_below(const Arguments& node) {
  return std::max(
      {deepest_of(node.positional), deepest_of(node.named), deepest(node.list, node.dict)});
}
int depth_below(const Literal&) {
  return 0;
}
int depth_below(const Name&) {
  return 0;
}
int depth_below(const ListLiteral& node) {
  return deepest_of(node.items);
}
int depth_below(const DictLiteral& node) {
  int depth = deepest_of(node.items);
  for (const auto& [key, value] : node.items)
    depth = std::max(depth, key->depth);
  return depth;
}
int depth_below(const Attribute& node) {
  return deepest(node.object);
}
int depth_below(const Subscript& node) {
  return deepest(node.object, node.key);
}
int depth_below(const Slice& node) {
  return deepest(node.object, node.begin, node.end, node.step);
}
int depth_below(const CallExpression& node) {
  return std::max(deepest(node.function), depth_below(node.arguments));
}
int depth_below(const Filter& node) {
  return std::max(deepest(node.object), depth_below(node.arguments));
}
int depth_below(const Test& node) {
  return std::max(deepest(node.object), depth_below(node.arguments));
}
int depth_below(const Unary& node) {
  return deepest(node.operand);
}
int depth_below(const Arithmetic& node) {
  return deepest(node.left, node.right);
}
int depth_below(const Logic& node) {
  return deepest(node.left, node.right);
}
int depth_below(const Concatenation& node) {
  return deepest_of(node.parts);
}
int depth_below(const Comparison& node) {
  return std::max(deepest(node.first), deepest_of(node.rest));
}
int depth_below(const Conditional& node) {
  return deepest(node.condition, node.value, node.otherwise);
}

}  // namespace

int depth_below(const Expression& expression) {
  return std::visit([](const auto& node) { return depth_below(node); }, expression.node);
}

}  // namespace graft::text::jinja
