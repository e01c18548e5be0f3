// Python's operators on values: arithmetic, comparison, membership, subscripts and slices.
#pragma once

#include <optional>
#include <string_view>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/value.h"

namespace graft::text::jinja {

enum class Operator { add, subtract, multiply, divide, divide_down, remainder, power };
enum class Comparator { equal, unequal, less, less_equal, greater, greater_equal, in, not_in };

/// Throws RenderError, with Python's words, where the values do not go together, and where an
/// integer exceeds 64 bits.
Value calculate(Run& run, Operator symbol, const Value& left, const Value& right);
Value negated(const Value& value);
Value positive(const Value& value);

/// Throws RenderError where there is no order, or no membership.
bool compare(Run& run, Comparator symbol, const Value& left, const Value& right);
/// left < right.
bool less(const Value& left, const Value& right);
bool contains(const Value& container, const Value& value);

/// int() of a floating-point number. Throws RenderError where 64 bits do not hold it.
int64_t to_whole(double value);

/// Python's len(). Throws RenderError where there is no such thing.
int64_t length_of(const Value& value);

/// object.name: a method or an attribute where there is one, else an item. Undefined where there is
/// neither; throws RenderError where `object` is undefined itself.
Value attribute(const Value& object, std::string_view name);
/// object[key]: an item, else an attribute.
Value item(const Value& object, const Value& key);
/// object[begin:end:step]; absent parts are none.
Value slice(const Value& object, const Value& begin, const Value& end, const Value& step);

}  // namespace graft::text::jinja
