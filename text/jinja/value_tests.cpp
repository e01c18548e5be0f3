// What `is` tests.
#include <cmath>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"

namespace graft::text::jinja {
namespace {

Value compared(const Call& call, Comparator symbol) {
  return compare(call.run, symbol, call.object, call[0]);
}

/// object % divisor.
double remainder(const Call& call, const Value& divisor) {
  return *calculate(call.run, Operator::remainder, call.object, divisor).number();
}

bool is_type(const Call& call, std::string_view type) {
  return call.object.type() == type;
}

bool is_iterable(const Value& value) {
  return value.text() || value.sequence() || value.dict() || value.generator() ||
         value.is_undefined() || value.as<std::shared_ptr<Loop>>() != nullptr;
}

/// Has a length and takes an index.
bool is_sequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  return value.text() || value.dict() || (sequence != nullptr && sequence->has_indices()) ||
         value.is_undefined();
}

/// Python's `is`: identity. Texts and numbers that are equal are taken for the same.
bool is_same(const Value& a, const Value& b) {
  if (a.sequence() != nullptr || a.dict() != nullptr)
    return a.sequence() == b.sequence() && a.dict() == b.dict();
  return a.type() == b.type() && a == b;
}

bool has_case(const Value& value, std::string_view method) {
  Run run{{}};
  return call(run, *find_method(Value(""), method), Value(to_text(value)), {}).truthy();
}

constexpr Builtin table[] = {
    {"!=", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::unequal); }},
    {"<", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::less); }},
    {"<=", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::less_equal); }},
    {"==", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::equal); }},
    {">", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::greater); }},
    {">=", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::greater_equal); }},
    {"boolean", "", 0, Cost::constant, [](auto& c) -> Value { return is_type(c, "bool"); }},
    {"callable", "", 0, Cost::constant,
     [](auto& c) -> Value {
       return c.object.template as<Function>() || c.object.template as<Method>() ||
              is_type(c, "Macro") || is_type(c, "LoopContext") || c.object.is_undefined();
     }},
    {"defined", "", 0, Cost::constant, [](auto& c) -> Value { return !c.object.is_undefined(); }},
    {"divisibleby", "num", 1, Cost::constant,
     [](auto& c) -> Value { return remainder(c, c[0]) == 0; }},
    {"eq", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::equal); }},
    {"equalto", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::equal); }},
    {"escaped", "", 0, Cost::constant, [](auto& c) -> Value { return c.object.is_markup(); }},
    {"even", "", 0, Cost::constant, [](auto& c) -> Value { return remainder(c, int64_t{2}) == 0; }},
    {"false", "", 0, Cost::constant,
     [](auto& c) -> Value { return is_type(c, "bool") && !c.object.truthy(); }},
    {"filter", "", 0, Cost::constant,
     [](auto& c) -> Value { return find_filter(to_text(c.object)) != nullptr; }},
    {"float", "", 0, Cost::constant, [](auto& c) -> Value { return is_type(c, "float"); }},
    {"ge", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::greater_equal); }},
    {"greaterthan", "b", 1, Cost::constant,
     [](auto& c) { return compared(c, Comparator::greater); }},
    {"gt", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::greater); }},
    {"in", "seq", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::in); }},
    {"integer", "", 0, Cost::constant, [](auto& c) -> Value { return is_type(c, "int"); }},
    {"iterable", "", 0, Cost::constant, [](auto& c) -> Value { return is_iterable(c.object); }},
    {"le", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::less_equal); }},
    {"lessthan", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::less); }},
    {"lower", "", 0, Cost::deep, [](auto& c) -> Value { return has_case(c.object, "islower"); }},
    {"lt", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::less); }},
    {"mapping", "", 0, Cost::constant, [](auto& c) -> Value { return c.object.dict() != nullptr; }},
    {"ne", "b", 1, Cost::constant, [](auto& c) { return compared(c, Comparator::unequal); }},
    {"none", "", 0, Cost::constant, [](auto& c) -> Value { return c.object.is_none(); }},
    {"number", "", 0, Cost::constant,
     [](auto& c) -> Value { return c.object.number().has_value(); }},
    {"odd", "", 0, Cost::constant, [](auto& c) -> Value { return remainder(c, int64_t{2}) == 1; }},
    {"sameas", "other", 1, Cost::deep, [](auto& c) -> Value { return is_same(c.object, c[0]); }},
    {"sequence", "", 0, Cost::constant, [](auto& c) -> Value { return is_sequence(c.object); }},
    {"string", "", 0, Cost::constant, [](auto& c) -> Value { return c.object.text() != nullptr; }},
    {"test", "", 0, Cost::constant,
     [](auto& c) -> Value { return find_test(to_text(c.object)) != nullptr; }},
    {"true", "", 0, Cost::constant,
     [](auto& c) -> Value { return is_type(c, "bool") && c.object.truthy(); }},
    {"undefined", "", 0, Cost::constant, [](auto& c) -> Value { return c.object.is_undefined(); }},
    {"upper", "", 0, Cost::deep, [](auto& c) -> Value { return has_case(c.object, "isupper"); }},
};

}  // namespace

std::span<const Builtin> test_functions() {
  return table;
}

}  // namespace graft::text::jinja
