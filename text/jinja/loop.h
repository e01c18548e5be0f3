// Loop: the `loop` of a {% for %}. It reads its items one by one, as Jinja2 does, so that the `if`
// of a loop sees what the body has set.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

struct For;
struct Scope;

struct Loop {
  std::function<std::optional<Value>()> next;
  /// Number of items, where it is known without reading them.
  std::optional<int64_t> length = std::nullopt;
  int64_t depth0 = 0;
  /// Of a recursive loop: what loop(items) runs, and where. Else null.
  const For* statement = nullptr;
  std::shared_ptr<Scope> scope = nullptr;

  int64_t index0 = -1;
  std::optional<Value> current = std::nullopt;
  std::optional<Value> before = std::nullopt;
  /// Read ahead, to tell whether there is another item.
  std::optional<Value> ahead = std::nullopt;
  std::vector<Value> watched = {};
  bool watches = false;

  /// Goes to the next item; false at the end.
  bool advance();
  bool peek();
  int64_t count();
};

/// loop.index and the like, or nothing where a loop has no such attribute.
std::optional<Value> loop_attribute(const std::shared_ptr<Loop>& loop, std::string_view name);

}  // namespace graft::text::jinja
