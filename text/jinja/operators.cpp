#include "graft/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include "graft/text/jinja/format.h"
#include "graft/text/jinja/loop.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"

namespace graft::text::jinja {
namespace {

std::string_view spelled(Operator symbol) {
  constexpr std::string_view symbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
  return symbols[static_cast<size_t>(symbol)];
}

[[noreturn]] void fail_to_calculate(Operator symbol, const Value& left, const Value& right) {
  if (symbol == Operator::add && left.text() != nullptr)
    throw RenderError(concat("can only concatenate str (not \"", right.type(), "\") to str"));
  if (symbol == Operator::add && left.sequence() != nullptr)
    throw RenderError(concat("can only concatenate ", left.type(), " (not \"", right.type(),
                             "\") to ", left.type()));
  throw RenderError(concat("unsupported operand type(s) for ", spelled(symbol), ": '", left.type(),
                           "' and '", right.type(), "'"));
}

Value joined_texts(const Value& left, const Value& right) {
  const bool markup = left.is_markup() || right.is_markup();
  const auto part = [&](const Value& value) {
    return markup && !value.is_markup() ? escaped_for_html(*value.text()) : *value.text();
  };
  check_text_size(left.text()->size() + right.text()->size());
  return {part(left) + part(right), markup};
}

Value repeated(const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (const std::string* text = value.text()) {
    GRAFT_CHECK(text->empty() || count <= max_text / text->size(), RenderError,
                "a text of more than ", max_text, " bytes");
    std::string result;
    for (size_t i = 0; i < (text->empty() ? 0 : count); ++i)
      result += *text;
    return {std::move(result), value.is_markup()};
  }
  const Sequence& sequence = *value.sequence();
  const size_t size = sequence.items.size();
  GRAFT_CHECK(size == 0 || count <= max_items / size, RenderError, "a list of more than ",
              max_items, " items");
  Sequence result{sequence.kind, {}};
  for (size_t i = 0; i < (size == 0 ? 0 : count); ++i)
    result.items.insert(result.items.end(), sequence.items.begin(), sequence.items.end());
  return Value::sequence(std::move(result));
}

bool is_list(const Value& value) {
  const Sequence* sequence = value.sequence();
  return sequence != nullptr && sequence->kind <= SequenceKind::tuple;
}

/// What + and * make of texts and lists, or nothing.
std::optional<Value> calculate_sequences(Operator symbol, const Value& left, const Value& right) {
  if (symbol == Operator::add && left.text() != nullptr && right.text() != nullptr)
    return joined_texts(left, right);
  if (symbol == Operator::add && is_list(left) && is_list(right) &&
      left.sequence()->kind == right.sequence()->kind) {
    Sequence joined{left.sequence()->kind, left.sequence()->items};
    const std::vector<Value>& more = right.sequence()->items;
    joined.items.insert(joined.items.end(), more.begin(), more.end());
    return Value::sequence(std::move(joined));
  }
  if (symbol == Operator::multiply) {
    const auto repeatable = [](const Value& v) { return v.text() != nullptr || is_list(v); };
    if (repeatable(left) && right.integer())
      return repeated(left, *right.integer());
    if (repeatable(right) && left.integer())
      return repeated(right, *left.integer());
  }
  return std::nullopt;
}

void check_divisor(bool is_zero, Operator symbol, bool whole) {
  GRAFT_CHECK(!is_zero, RenderError,
              symbol == Operator::divide ? (whole ? "division by zero" : "float division by zero")
              : whole                    ? "integer division or modulo by zero"
              : symbol == Operator::divide_down ? "float floor division by zero"
                                                : "float modulo");
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    GRAFT_CHECK(base != 0, RenderError, "0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    bool overflow = (exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result);
    if (exponent > 1)
      overflow = __builtin_mul_overflow(base, base, &base) || overflow;
    GRAFT_CHECK(!overflow, RenderError, "'**' exceeds 64 bits");
  }
  return result;
}

/// Integers stay integers but for "/", and division rounds down.
Value calculate_integers(Operator symbol, int64_t x, int64_t y) {
  const bool divides = symbol == Operator::divide || symbol == Operator::divide_down ||
                       symbol == Operator::remainder;
  check_divisor(divides && y == 0, symbol, true);
  int64_t result = 0;
  bool overflow = false;
  switch (symbol) {
    case Operator::add:
      overflow = __builtin_add_overflow(x, y, &result);
      break;
    case Operator::subtract:
      overflow = __builtin_sub_overflow(x, y, &result);
      break;
    case Operator::multiply:
      overflow = __builtin_mul_overflow(x, y, &result);
      break;
    case Operator::divide:
      return static_cast<double>(x) / static_cast<double>(y);
    case Operator::power:
      return integer_power(x, y);
    case Operator::remainder:
      if (y == -1)
        return int64_t{0};
      result = x % y;
      return result != 0 && (result < 0) != (y < 0) ? result + y : result;
    case Operator::divide_down:
      if (y == -1)
        overflow = __builtin_sub_overflow(int64_t{0}, x, &result);
      else
        result = x / y - (x % y != 0 && (x < 0) != (y < 0));
      break;
  }
  GRAFT_CHECK(!overflow, RenderError, "'", spelled(symbol), "' exceeds 64 bits");
  return result;
}

double python_remainder(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0)
    return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double python_quotient(double a, double b) {
  const double rest = std::fmod(a, b);
  const double quotient = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0);
  if (quotient == 0)
    return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Value calculate_reals(Operator symbol, double a, double b) {
  switch (symbol) {
    case Operator::add:
      return a + b;
    case Operator::subtract:
      return a - b;
    case Operator::multiply:
      return a * b;
    case Operator::power:
      GRAFT_CHECK(a != 0 || b >= 0, RenderError, "0.0 cannot be raised to a negative power");
      GRAFT_CHECK(a >= 0 || b == std::floor(b), RenderError, "'**' would give a complex number");
      return std::pow(a, b);
    case Operator::divide:
      check_divisor(b == 0, symbol, false);
      return a / b;
    case Operator::divide_down:
      check_divisor(b == 0, symbol, false);
      return python_quotient(a, b);
    case Operator::remainder:
      check_divisor(b == 0, symbol, false);
      return python_remainder(a, b);
  }
  return 0.0;
}

bool less_items(const Sequence& a, const Sequence& b) {
  const size_t count = std::min(a.items.size(), b.items.size());
  for (size_t i = 0; i < count; ++i)
    if (!(a.items[i] == b.items[i]))
      return less(a.items[i], b.items[i]);
  return a.items.size() < b.items.size();
}

bool have_order(const Value& a, const Value& b) {
  if (a.number() && b.number())
    return true;
  if (a.text() != nullptr && b.text() != nullptr)
    return true;
  return is_list(a) && is_list(b) && a.sequence()->kind == b.sequence()->kind;
}

/// As Jinja2 names the object in its messages.
std::string shown(const Value& value) {
  if (value.is_none())
    return "None";
  if (value.name_space() != nullptr)
    return "namespace object";
  return concat(value.type(), " object");
}

Value missing(const Value& object, const Value& key) {
  if (const std::string* name = key.text())
    return Value::undefined(concat("'", shown(object), "' has no attribute ", repr_of(*name)));
  return Value::undefined(concat(shown(object), " has no element ", to_repr(key)));
}

/// Attributes that every Python object may have, and that lead out of the sandbox.
bool is_internal(std::string_view name) {
  return name.starts_with("__") && name.ends_with("__");
}

/// A method or the like that Python objects of this type have, or nothing.
std::optional<Value> python_attribute(const Value& object, std::string_view name) {
  if (is_internal(name) || changes_object(object, name))
    return Value::undefined(concat("access to attribute ", repr_of(name), " of '", object.type(),
                                   "' object is unsafe."));
  if (const Builtin* method = find_method(object, name))
    return Value(Value::Storage(Method{method, std::make_shared<const Value>(object)}));
  if (const auto* loop = object.as<std::shared_ptr<Loop>>())
    return loop_attribute(*loop, name);
  const Sequence* sequence = object.sequence();
  if (sequence != nullptr && sequence->is_group && (name == "grouper" || name == "list"))
    return sequence->items[name == "list" ? 1 : 0];
  return std::nullopt;
}

/// An item of a dict, list, string or namespace, or nothing.
std::optional<Value> find_item(const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    if (key.sequence() != nullptr && key.sequence()->kind != SequenceKind::tuple)
      return std::nullopt;
    const Value* entry = key.dict() != nullptr ? nullptr : dict->find(key);
    return entry != nullptr ? std::optional(*entry) : std::nullopt;
  }
  const auto index = key.integer();
  const Sequence* sequence = object.sequence();
  if (!index || (object.text() == nullptr && (sequence == nullptr || !sequence->has_indices())))
    return std::nullopt;
  const int64_t count = length_of(object);
  const int64_t at = *index < 0 ? *index + count : *index;
  if (at < 0 || at >= count)
    return std::nullopt;
  if (sequence != nullptr)
    return sequence->items[static_cast<size_t>(at)];
  const std::string& text = *object.text();
  const size_t position = character_offsets(text)[static_cast<size_t>(at)];
  return Value(text.substr(position, size_of_character(text, position)), object.is_markup());
}

}  // namespace

Value calculate(Run& run, Operator symbol, const Value& left, const Value& right) {
  if (symbol == Operator::remainder && left.text() != nullptr)
    return formatted_by_percent(run, left, right);
  left.check_defined();
  right.check_defined();
  if (const auto x = left.integer(), y = right.integer(); x && y)
    return calculate_integers(symbol, *x, *y);
  if (const auto a = left.number(), b = right.number(); a && b)
    return calculate_reals(symbol, *a, *b);
  if (auto result = calculate_sequences(symbol, left, right)) {
    charge(run, Cost::shallow, *result);
    return std::move(*result);
  }
  fail_to_calculate(symbol, left, right);
}

Value negated(const Value& value) {
  value.check_defined();
  GRAFT_CHECK(value.number(), RenderError, "bad operand type for unary -: '", value.type(), "'");
  if (const auto whole = value.integer())
    return calculate_integers(Operator::subtract, 0, *whole);
  return -*value.number();
}

Value positive(const Value& value) {
  value.check_defined();
  GRAFT_CHECK(value.number(), RenderError, "bad operand type for unary +: '", value.type(), "'");
  return value.integer() ? Value(*value.integer()) : value;
}

bool less(const Value& left, const Value& right) {
  left.check_defined();
  right.check_defined();
  GRAFT_CHECK(have_order(left, right), RenderError, "'<' not supported between instances of '",
              left.type(), "' and '", right.type(), "'");
  if (left.text() != nullptr)
    return *left.text() < *right.text();
  if (left.sequence() != nullptr)
    return less_items(*left.sequence(), *right.sequence());
  const auto x = left.integer();
  const auto y = right.integer();
  return x && y ? *x < *y : *left.number() < *right.number();
}

bool compare(Run& run, Comparator symbol, const Value& left, const Value& right) {
  if (symbol == Comparator::in || symbol == Comparator::not_in) {
    charge(run, Cost::deep, right);
    return contains(right, left) == (symbol == Comparator::in);
  }
  run.charge(std::min(left.weight(), right.weight()));
  if (symbol == Comparator::equal || symbol == Comparator::unequal)
    return (left == right) == (symbol == Comparator::equal);
  left.check_defined();
  right.check_defined();
  constexpr std::string_view symbols[] = {"==", "!=", "<", "<=", ">", ">="};
  GRAFT_CHECK(have_order(left, right), RenderError, "'", symbols[static_cast<size_t>(symbol)],
              "' not supported between instances of '", left.type(), "' and '", right.type(), "'");
  if (symbol == Comparator::less || symbol == Comparator::greater)
    return symbol == Comparator::less ? less(left, right) : less(right, left);
  return left == right ||
         (symbol == Comparator::less_equal ? less(left, right) : less(right, left));
}

bool contains(const Value& container, const Value& value) {
  if (const std::string* text = container.text()) {
    GRAFT_CHECK(value.text() != nullptr, RenderError,
                "'in <string>' requires string as left operand, not ", value.type());
    return find_first(*text, *value.text()) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) {
    value.hash();  // an error for what cannot be a key
    return dict->find(value) != nullptr;
  }
  if (const Sequence* sequence = container.sequence())
    return std::ranges::find(sequence->items, value) != sequence->items.end();
  GRAFT_CHECK(container.is_undefined() || container.generator() != nullptr, RenderError,
              "argument of type '", container.type(), "' is not iterable");
  const auto next = iterate(container);
  while (const auto item = next())
    if (*item == value)
      return true;
  return false;
}

int64_t to_whole(double value) {
  GRAFT_CHECK(!std::isnan(value), RenderError, "cannot convert float NaN to integer");
  GRAFT_CHECK(value > -0x1p63 && value < 0x1p63, RenderError, "the number ", float_text(value),
              " exceeds 64 bits");
  return static_cast<int64_t>(value);
}

int64_t length_of(const Value& value) {
  if (const std::string* text = value.text())
    return count_characters(*text);
  if (const Sequence* sequence = value.sequence())
    return static_cast<int64_t>(sequence->items.size());
  if (const Dict* dict = value.dict())
    return static_cast<int64_t>(dict->entries.size());
  if (const auto* loop = value.as<std::shared_ptr<Loop>>())
    return *loop_attribute(*loop, "length")->integer();
  GRAFT_CHECK(value.is_undefined(), RenderError, "object of type '", value.type(),
              "' has no len()");
  return 0;
}

Value attribute(const Value& object, std::string_view name) {
  if (!is_internal(name))  // those are refused of any object
    object.check_defined();
  if (const Namespace* space = object.name_space()) {
    const Value* member = space->find(name);
    return member != nullptr ? *member : missing(object, name);
  }
  if (auto found = python_attribute(object, name))
    return std::move(*found);
  if (const Dict* dict = object.dict())
    if (const Value* entry = dict->find(name))
      return *entry;
  return missing(object, name);
}

Value item(const Value& object, const Value& key) {
  object.check_defined();
  if (auto found = find_item(object, key))
    return std::move(*found);
  const std::string* name = key.text();
  if (name == nullptr)
    return missing(object, key);
  if (object.name_space() != nullptr)
    return attribute(object, *name);
  auto found = python_attribute(object, *name);
  return found ? std::move(*found) : missing(object, key);
}

Value slice(const Value& object, const Value& begin, const Value& end, const Value& step) {
  object.check_defined();
  const Sequence* sequence = object.sequence();
  const bool sliceable = object.text() != nullptr || (sequence && sequence->has_indices());
  GRAFT_CHECK(sliceable, RenderError, "'", object.type(), "' object cannot be sliced");
  for (const Value* part : {&begin, &end, &step})
    GRAFT_CHECK(part->is_none() || part->integer(), RenderError,
                "slice indices must be integers or None, not ", part->type());
  const int64_t stride = step.integer().value_or(1);
  GRAFT_CHECK(stride != 0, RenderError, "slice step cannot be zero");

  std::vector<size_t> offsets;
  if (sequence == nullptr)
    offsets = character_offsets(*object.text());
  const auto count = static_cast<int64_t>(sequence ? sequence->items.size() : offsets.size() - 1);
  const int64_t low = stride > 0 ? 0 : -1;
  const int64_t high = stride > 0 ? count : count - 1;
  const auto bound = [&](const Value& part, int64_t fallback) {
    if (part.is_none())
      return fallback;
    const int64_t at = *part.integer();
    return at < 0 ? std::max(at + count, low) : std::min(at, high);
  };
  const int64_t first = bound(begin, stride > 0 ? 0 : count - 1);
  const int64_t last = bound(end, stride > 0 ? count : -1);

  std::vector<size_t> picked;
  for (int64_t i = first; stride > 0 ? i < last : i > last;) {
    picked.push_back(static_cast<size_t>(i));
    if (__builtin_add_overflow(i, stride, &i))
      break;
  }
  if (sequence != nullptr) {
    Sequence part{sequence->kind, {}};
    for (const size_t i : picked)
      part.items.push_back(sequence->items[i]);
    return Value::sequence(std::move(part));
  }
  std::string text;
  for (const size_t i : picked)
    text.append(*object.text(), offsets[i], offsets[i + 1] - offsets[i]);
  return {std::move(text), object.is_markup()};
}

}  // namespace graft::text::jinja
