#include "graft/text/jinja_interpreter.h"

#include <algorithm>
#include <cmath>

#include "graft/tensor/error.h"
#include "graft/text/jinja_builtins.h"

namespace graft::text::jinja {
namespace {

/// Expressions and statements one render may take: a conversation of 10,000 messages takes a tenth.
constexpr int64_t max_steps = 10'000'000;

/// How a block was left.
enum class Flow { on, break_loop, continue_loop };

class Interpreter {
 public:
  Interpreter(std::string_view name, std::vector<std::pair<std::string, Value>> variables)
      : name_(name) {
    scopes_.emplace_back();
    for (auto& [variable, value] : variables)
      scopes_.back().set(variable, std::move(value));
  }

  RunResult run(const Template& source) {
    run_block(source.body);
    return std::move(result_);
  }

 private:
  /// Counts a step and remembers the line for messages.
  void step(int line) {
    line_ = line;
    if (++steps_ > max_steps)
      throw FormatError::at_line(name_, line_, concat("more than ", max_steps, " steps"));
  }

  void write(std::string_view text) {
    check_text_size(result_.text.size() + text.size());
    result_.text += text;
  }

  // ---- statements

  Flow run_block(const Block& block) {
    for (const Statement& statement : block) {
      step(statement.line);
      const Flow flow = run_statement(statement);
      if (flow != Flow::on)
        return flow;
    }
    return Flow::on;
  }

  Flow run_statement(const Statement& statement) {
    try {
      return std::visit([this](const auto& node) { return execute(node); }, statement.node);
    } catch (const RenderError& error) {
      throw FormatError::at_line(name_, line_, error.what());
    }
  }

  Flow execute(const TextStatement& node) {
    write(node.text);
    return Flow::on;
  }

  Flow execute(const Output& node) {
    write(evaluate(*node.value).to_text());
    return Flow::on;
  }

  Flow execute(const If& node) {
    for (const auto& [condition, block] : node.branches) {
      if (condition == nullptr || evaluate(*condition).truthy())
        return run_block(block);
    }
    return Flow::on;
  }

  Flow execute(const Set& node) {
    Value value;
    if (node.value != nullptr) {
      value = evaluate(*node.value);
    } else {
      std::string outer = std::exchange(result_.text, "");
      run_block(node.body);
      value = std::exchange(result_.text, std::move(outer));
    }
    if (!node.attribute.empty()) {
      const Value target = lookup(node.targets[0]);
      const auto* space = target.as<Namespace>();
      GRAFT_CHECK(space != nullptr, RenderError, "set: ", node.targets[0], " is ", target.kind(),
                  ", a namespace expected");
      space->members->set(node.attribute, std::move(value));
      return Flow::on;
    }
    assign(node.targets, value);
    return Flow::on;
  }

  Flow execute(const Generation& node) {
    const auto begin = static_cast<uint32_t>(result_.text.size());
    const Flow flow = run_block(node.body);
    result_.generation.push_back({begin, static_cast<uint32_t>(result_.text.size())});
    return flow;
  }

  Flow execute(const Break&) { return Flow::break_loop; }
  Flow execute(const Continue&) { return Flow::continue_loop; }

  Flow execute(const For& node) {
    std::vector<Value> items = items_of(evaluate(*node.iterable));
    if (node.filter != nullptr)
      items = filtered(node, items);
    if (items.empty())
      return run_block(node.otherwise);
    for (size_t i = 0; i < items.size(); ++i) {
      scopes_.emplace_back();
      assign(node.targets, items[i]);
      scopes_.back().set("loop", loop_variable(items, i));
      const Flow flow = run_block(node.body);
      scopes_.pop_back();
      if (flow == Flow::break_loop)
        break;
    }
    return Flow::on;
  }

  std::vector<Value> filtered(const For& node, const std::vector<Value>& items) {
    std::vector<Value> kept;
    for (const Value& item : items) {
      scopes_.emplace_back();
      assign(node.targets, item);
      if (evaluate(*node.filter).truthy())
        kept.push_back(item);
      scopes_.pop_back();
    }
    return kept;
  }

  static Value loop_variable(const std::vector<Value>& items, size_t i) {
    const auto index = static_cast<int64_t>(i);
    const auto count = static_cast<int64_t>(items.size());
    return Value::dict({{"index", index + 1},
                        {"index0", index},
                        {"revindex", count - index},
                        {"revindex0", count - index - 1},
                        {"first", index == 0},
                        {"last", index + 1 == count},
                        {"length", count},
                        {"previtem", i > 0 ? items[i - 1] : Value()},
                        {"nextitem", i + 1 < items.size() ? items[i + 1] : Value()}});
  }

  void assign(const std::vector<std::string>& targets, const Value& value) {
    if (targets.size() == 1) {
      scopes_.back().set(targets[0], value);
      return;
    }
    const std::vector<Value> parts = items_of(value);
    GRAFT_CHECK(parts.size() == targets.size(), RenderError, parts.size(), " values for ",
                targets.size(), " names");
    for (size_t i = 0; i < parts.size(); ++i)
      scopes_.back().set(targets[i], parts[i]);
  }

  Value lookup(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const Value* value = std::as_const(*scope).find(name))
        return *value;
    }
    return is_function(name) ? Value(Function{name, nullptr}) : Value(Undefined{name});
  }

  // ---- expressions

  Value evaluate(const Expression& expression) {
    step(expression.line);
    return std::visit([this](const auto& node) { return value_of(node); }, expression.node);
  }

  CallArguments evaluate(const Arguments& arguments) {
    CallArguments values;
    for (const ExpressionPtr& argument : arguments.positional)
      values.positional.push_back(evaluate(*argument));
    for (const auto& [name, argument] : arguments.named)
      values.named.emplace_back(name, evaluate(*argument));
    return values;
  }

  Value value_of(const Literal& node) { return node.value; }
  Value value_of(const Name& node) { return lookup(node.name); }

  Value value_of(const ListLiteral& node) {
    std::vector<Value> items;
    for (const ExpressionPtr& item : node.items)
      items.push_back(evaluate(*item));
    return Value::list(std::move(items));
  }

  Value value_of(const DictLiteral& node) {
    std::vector<std::pair<std::string, Value>> entries;
    for (const auto& [key, value] : node.items) {
      const Value name = evaluate(*key);
      GRAFT_CHECK(name.is<std::string>(), RenderError, "a key of a dict is ", name.kind(),
                  ", a string expected");
      entries.emplace_back(*name.as<std::string>(), evaluate(*value));
    }
    return Value::dict(std::move(entries));
  }

  /// Attributes: a method where there is one, else an entry.
  Value value_of(const Attribute& node) {
    const Value object = evaluate(*node.object);
    if (const auto* missing = object.as<Undefined>())
      throw RenderError(
          concat("'", missing->name, "' is undefined, its ", node.name, " was asked for"));
    if (has_method(object, node.name))
      return Function{node.name, std::make_shared<const Value>(object)};
    const Value* entry = object.entry(node.name);
    return entry != nullptr ? *entry : Value(Undefined{node.name});
  }

  Value value_of(const Subscript& node) {
    const Value object = evaluate(*node.object);
    const Value key = evaluate(*node.key);
    if (const auto* missing = object.as<Undefined>())
      throw RenderError(
          concat("'", missing->name, "' is undefined, its [", key.to_repr(), "] was asked for"));
    if (const auto* name = key.as<std::string>()) {
      const Value* entry = object.entry(*name);
      return entry != nullptr ? *entry : Value(Undefined{*name});
    }
    GRAFT_CHECK(key.is<int64_t>(), RenderError, "an index is ", key.kind(),
                ", an integer or a string expected");
    if (!object.is<List>() && !object.is<std::string>())
      return Undefined{key.to_text()};
    const std::vector<Value> items = items_of(object);
    const int64_t count = static_cast<int64_t>(items.size());
    const int64_t at = *key.as<int64_t>() < 0 ? *key.as<int64_t>() + count : *key.as<int64_t>();
    return at >= 0 && at < count ? items[static_cast<size_t>(at)] : Value(Undefined{key.to_text()});
  }

  /// Python's slices of lists and strings.
  Value value_of(const Slice& node) {
    const Value object = evaluate(*node.object);
    GRAFT_CHECK(object.is<List>() || object.is<std::string>(), RenderError, object.kind(),
                " cannot be sliced");
    const std::vector<Value> items = items_of(object);
    const auto count = static_cast<int64_t>(items.size());
    const auto bound = [&](const ExpressionPtr& part, int64_t fallback) {
      if (part == nullptr)
        return fallback;
      const Value value = evaluate(*part);
      GRAFT_CHECK(value.is<int64_t>() || value.is<None>(), RenderError, "a slice goes by ",
                  value.kind(), ", an integer expected");
      return value.is<None>() ? fallback : *value.as<int64_t>();
    };
    const int64_t step = bound(node.step, 1);
    GRAFT_CHECK(step != 0, RenderError, "the step of a slice is 0");
    const int64_t low = step > 0 ? 0 : -1;
    const int64_t high = step > 0 ? count : count - 1;
    const auto clamp = [&](int64_t at) { return std::clamp(at < 0 ? at + count : at, low, high); };
    const int64_t begin = node.begin ? clamp(bound(node.begin, 0)) : (step > 0 ? 0 : count - 1);
    const int64_t end = node.end ? clamp(bound(node.end, count)) : (step > 0 ? count : -1);
    std::vector<Value> part;
    for (int64_t i = begin; step > 0 ? i < end : i > end; i += step)
      part.push_back(items[static_cast<size_t>(i)]);
    if (object.is<List>())
      return Value::list(std::move(part));
    std::string text;
    for (const Value& character : part)
      text += character.to_text();
    return text;
  }

  Value value_of(const Call& node) {
    const Value function = evaluate(*node.function);
    const CallArguments arguments = evaluate(node.arguments);
    if (const auto* missing = function.as<Undefined>())
      throw RenderError(concat("the function '", missing->name, "' is not supported"));
    const auto* found = function.as<Function>();
    GRAFT_CHECK(found != nullptr, RenderError, function.kind(), " cannot be called");
    return found->self != nullptr ? call_method(found->name, *found->self, arguments)
                                  : call_function(found->name, arguments);
  }

  Value value_of(const Filter& node) {
    const Value object = evaluate(*node.object);
    return apply_filter(node.name, object, evaluate(node.arguments));
  }

  Value value_of(const Test& node) {
    const Value object = evaluate(*node.object);
    return apply_test(node.name, object, evaluate(node.arguments)) != node.negated;
  }

  Value value_of(const Conditional& node) {
    if (evaluate(*node.condition).truthy())
      return evaluate(*node.value);
    return node.otherwise != nullptr ? evaluate(*node.otherwise) : Value();
  }

  Value value_of(const Unary& node) {
    const Value operand = evaluate(*node.operand);
    if (node.symbol == "not")
      return !operand.truthy();
    check_number(node.symbol, operand);
    if (node.symbol == "+")
      return operand;
    if (const auto* integer = operand.as<int64_t>())
      return -*integer;
    return -operand.number();
  }

  Value value_of(const Comparison& node) {
    Value left = evaluate(*node.first);
    for (const auto& [symbol, operand] : node.rest) {
      Value right = evaluate(*operand);
      if (!compare(symbol, left, right))
        return false;
      left = std::move(right);
    }
    return true;
  }

  static bool compare(const std::string& symbol, const Value& left, const Value& right) {
    if (symbol == "==")
      return left == right;
    if (symbol == "!=")
      return !(left == right);
    if (symbol == "in" || symbol == "not in")
      return contains(right, left) == (symbol == "in");
    const auto* a = left.as<std::string>();
    const auto* b = right.as<std::string>();
    GRAFT_CHECK((a != nullptr && b != nullptr) || (left.is_number() && right.is_number()),
                RenderError, left.kind(), " and ", right.kind(), " have no order");
    const double order = a != nullptr ? a->compare(*b) : left.number() - right.number();
    return symbol == "<"    ? order < 0
           : symbol == "<=" ? order <= 0
           : symbol == ">"  ? order > 0
                            : order >= 0;
  }

  Value value_of(const Binary& node) {
    const Value left = evaluate(*node.left);
    if (node.symbol == "and")
      return left.truthy() ? evaluate(*node.right) : left;
    if (node.symbol == "or")
      return left.truthy() ? left : evaluate(*node.right);
    const Value right = evaluate(*node.right);
    const bool joins_texts =
        node.symbol == "+" && left.is<std::string>() && right.is<std::string>();
    if (joins_texts || node.symbol == "~") {
      std::string joined = left.to_text() + right.to_text();
      check_text_size(joined.size());
      return joined;
    }
    if (node.symbol == "+" && left.is<List>() && right.is<List>()) {
      std::vector<Value> joined = **left.as<List>();
      check_item_count(joined.size() + (*right.as<List>())->size());
      joined.insert(joined.end(), (*right.as<List>())->begin(), (*right.as<List>())->end());
      return Value::list(std::move(joined));
    }
    check_number(node.symbol, left);
    check_number(node.symbol, right);
    return calculate(node.symbol, left, right);
  }

  static void check_number(std::string_view symbol, const Value& value) {
    const auto* missing = value.as<Undefined>();
    GRAFT_CHECK(value.is_number(), RenderError, "'", symbol, "' with ",
                missing != nullptr ? concat("'", missing->name, "', which is undefined")
                                   : std::string(value.kind()));
  }

  /// Python's arithmetic: integers stay integers but for "/", and division rounds down.
  static Value calculate(const std::string& symbol, const Value& left, const Value& right) {
    const bool whole = !left.is<double>() && !right.is<double>();
    const double a = left.number();
    const double b = right.number();
    if (symbol == "/" || symbol == "//" || symbol == "%")
      GRAFT_CHECK(b != 0, RenderError, "'", symbol, "' by zero");
    if (symbol == "/")
      return a / b;
    if (!whole) {
      return symbol == "+"    ? a + b
             : symbol == "-"  ? a - b
             : symbol == "*"  ? a * b
             : symbol == "//" ? std::floor(a / b)
                              : a - b * std::floor(a / b);
    }
    const int64_t x = left.is<int64_t>() ? *left.as<int64_t>() : *left.as<bool>();
    const int64_t y = right.is<int64_t>() ? *right.as<int64_t>() : *right.as<bool>();
    int64_t result = 0;
    bool overflow = false;
    if (symbol == "+")
      overflow = __builtin_add_overflow(x, y, &result);
    else if (symbol == "-")
      overflow = __builtin_sub_overflow(x, y, &result);
    else if (symbol == "*")
      overflow = __builtin_mul_overflow(x, y, &result);
    else
      result = x / y - ((x % y != 0) && ((x < 0) != (y < 0)));
    GRAFT_CHECK(!overflow, RenderError, "'", symbol, "' exceeds 64 bits");
    return symbol == "%" ? x - result * y : result;
  }

  std::string_view name_;
  std::vector<DictEntries> scopes_;
  RunResult result_;
  int64_t steps_ = 0;
  int line_ = 1;
};

}  // namespace

RunResult run(const Template& source, std::string_view name,
              std::vector<std::pair<std::string, Value>> variables) {
  return Interpreter(name, std::move(variables)).run(source);
}

}  // namespace graft::text::jinja
