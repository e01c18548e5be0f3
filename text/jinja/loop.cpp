#include "graft/text/jinja/loop.h"

#include "graft/text/jinja/builtins.h"

namespace graft::text::jinja {
namespace {

Loop& loop_of(const Call& call) {
  return **call.object.as<std::shared_ptr<Loop>>();
}

Value cycle(const Call& call) {
  const std::vector<Value>& values = call.arguments.positional;
  GRAFT_CHECK(!values.empty(), RenderError, "no items for cycling given");
  return values[static_cast<size_t>(loop_of(call).index0) % values.size()];
}

Value changed(const Call& call) {
  Loop& loop = loop_of(call);
  const bool same = loop.watches && loop.watched == call.arguments.positional;
  loop.watches = true;
  loop.watched = call.arguments.positional;
  return !same;
}

constexpr Builtin cycle_method{"cycle", "*", 0, Cost::constant, cycle};
constexpr Builtin changed_method{"changed", "*", 0, Cost::deep, changed};

}  // namespace

bool Loop::peek() {
  if (!ahead)
    ahead = next();
  return ahead.has_value();
}

bool Loop::advance() {
  if (!peek())
    return false;
  ++index0;
  before = std::move(current);
  current = std::move(ahead);
  ahead.reset();
  return true;
}

int64_t Loop::count() {
  if (length)
    return *length;
  std::vector<Value> rest;
  while (auto item = next()) {
    check_item_count(rest.size() + 1);
    rest.push_back(std::move(*item));
  }
  length = index0 + 1 + (ahead ? 1 : 0) + static_cast<int64_t>(rest.size());
  next = iterate(Value::list(std::move(rest)));
  return *length;
}

std::optional<Value> loop_attribute(const std::shared_ptr<Loop>& loop, std::string_view name) {
  if (name == "index" || name == "index0")
    return loop->index0 + (name == "index" ? 1 : 0);
  if (name == "first")
    return loop->index0 == 0;
  if (name == "last")
    return !loop->peek();
  if (name == "length")
    return loop->count();
  if (name == "revindex" || name == "revindex0")
    return loop->count() - loop->index0 - (name == "revindex" ? 0 : 1);
  if (name == "depth" || name == "depth0")
    return loop->depth0 + (name == "depth" ? 1 : 0);
  if (name == "previtem")
    return loop->index0 > 0 ? *loop->before : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return loop->peek() ? *loop->ahead : Value::undefined("there is no next item");
  if (name == "cycle" || name == "changed") {
    const Builtin* method = name == "cycle" ? &cycle_method : &changed_method;
    const auto self = std::make_shared<const Value>(Value::Storage(loop));
    return Value(Value::Storage(Method{method, self}));
  }
  return std::nullopt;
}

}  // namespace graft::text::jinja
