#include <algorithm>

#include "graft/text/jinja/machine.h"
#include "graft/text/jinja/print.h"

namespace graft::text::jinja {

Value Machine::evaluate(const Expression& expression) {
  const Depth depth(*this);
  step(expression.line);
  return std::visit([this](const auto& node) { return value_of(node); }, expression.node);
}

Value Machine::evaluate_or_none(const ExpressionPtr& expression) {
  return expression != nullptr ? evaluate(*expression) : Value();
}

CallArguments Machine::evaluate(const Arguments& arguments) {
  CallArguments values;
  for (const ExpressionPtr& argument : arguments.positional)
    values.positional.push_back(evaluate(*argument));
  for (const auto& [name, argument] : arguments.named)
    values.named.emplace_back(name, evaluate(*argument));
  if (arguments.list != nullptr) {
    const Value list = evaluate(*arguments.list);
    charge(run_, Cost::shallow, list);
    for (Value& item : items_of(list))
      values.positional.push_back(std::move(item));
  }
  if (arguments.dict != nullptr) {
    const Value dict = evaluate(*arguments.dict);
    charge(run_, Cost::shallow, dict);
    GRAFT_CHECK(dict.dict() != nullptr, RenderError, "argument after ** must be a mapping, not ",
                dict.type());
    for (const auto& [key, value] : dict.dict()->entries) {
      GRAFT_CHECK(key.text() != nullptr, RenderError, "keywords must be strings");
      values.named.emplace_back(*key.text(), value);
    }
  }
  return values;
}

Value Machine::look_up(int name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    run_.charge(static_cast<int64_t>(scope->variables.size() / 32));
    if (const Value* value = scope->find(name))
      return *value;
  }
  const std::string& shown = source_.names[static_cast<size_t>(name)];
  const Builtin* function = find_function(shown);
  return function != nullptr ? Value(Value::Storage(Function{function}))
                             : Value::undefined_name(shown);
}

Value Machine::value_of(const ListLiteral& node) {
  std::vector<Value> items;
  for (const ExpressionPtr& item : node.items)
    items.push_back(evaluate(*item));
  return node.is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

Value Machine::value_of(const DictLiteral& node) {
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [key, value] : node.items) {
    Value name = evaluate(*key);
    entries.emplace_back(std::move(name), evaluate(*value));
  }
  return Value::dict(std::move(entries));
}

Value Machine::value_of(const Attribute& node) {
  const Value object = evaluate(*node.object);
  if (const Namespace* space = object.name_space())
    run_.charge(static_cast<int64_t>(space->members.size() / 32));
  return attribute(object, node.name);
}

Value Machine::value_of(const Subscript& node) {
  const Value object = evaluate(*node.object);
  if (object.text() != nullptr)
    charge(run_, Cost::shallow, object);
  return item(object, evaluate(*node.key));
}

Value Machine::value_of(const Slice& node) {
  const Value object = evaluate(*node.object);
  charge(run_, Cost::shallow, object);
  const Value begin = evaluate_or_none(node.begin);
  const Value end = evaluate_or_none(node.end);
  return slice(object, begin, end, evaluate_or_none(node.step));
}

Value Machine::value_of(const CallExpression& node) {
  const Value function = evaluate(*node.function);
  return call_value(function, evaluate(node.arguments));
}

Value Machine::value_of(const Filter& node) {
  const Value object = node.object != nullptr ? evaluate(*node.object) : filtered_text_;
  GRAFT_CHECK(node.filter != nullptr, RenderError, "the filter '", node.name, "' is not supported");
  return call(run_, *node.filter, object, evaluate(node.arguments));
}

Value Machine::value_of(const Test& node) {
  const Value object = evaluate(*node.object);
  GRAFT_CHECK(node.test != nullptr, RenderError, "the test 'is ", node.name, "' is not supported");
  return call(run_, *node.test, object, evaluate(node.arguments));
}

Value Machine::value_of(const Unary& node) {
  const Value operand = evaluate(*node.operand);
  if (node.symbol == UnaryOperator::negation)
    return !operand.truthy();
  return node.symbol == UnaryOperator::minus ? negated(operand) : positive(operand);
}

Value Machine::value_of(const Arithmetic& node) {
  const Value left = evaluate(*node.left);
  return calculate(run_, node.symbol, left, evaluate(*node.right));
}

Value Machine::value_of(const Logic& node) {
  Value left = evaluate(*node.left);
  return left.truthy() == node.is_and ? evaluate(*node.right) : left;
}

Value Machine::value_of(const Concatenation& node) {
  std::string text;
  for (const ExpressionPtr& part : node.parts) {
    const Value value = evaluate(*part);
    charge(run_, Cost::deep, value);
    text += to_text(value);
    check_text_size(text.size());
  }
  return text;
}

Value Machine::value_of(const Comparison& node) {
  Value left = evaluate(*node.first);
  for (const auto& [symbol, operand] : node.rest) {
    Value right = evaluate(*operand);
    if (!compare(run_, symbol, left, right))
      return false;
    left = std::move(right);
  }
  return true;
}

Value Machine::value_of(const Conditional& node) {
  if (evaluate(*node.condition).truthy())
    return evaluate(*node.value);
  if (node.otherwise != nullptr)
    return evaluate(*node.otherwise);
  return Value::undefined(concat("the inline if-expression on line ", line_,
                                 " evaluated to false and no else section was defined."));
}

// ---- calls

Value Machine::call_value(const Value& function, CallArguments arguments) {
  function.check_defined();
  if (const auto* method = function.as<Method>())
    return call(run_, *method->method, *method->self, arguments);
  if (const auto* global = function.as<Function>())
    return call(run_, *global->function, Value(), arguments);
  if (const auto* macro = function.as<std::shared_ptr<const Macro>>())
    return call_macro(**macro, std::move(arguments));
  if (const auto* loop = function.as<std::shared_ptr<Loop>>())
    return call_loop(**loop, arguments);
  throw RenderError(concat("'", function.type(), "' object is not callable"));
}

Value Machine::call_macro(const Macro& macro, CallArguments arguments) {
  const MacroDefinition& definition = *macro.definition;
  const std::shared_ptr<Scope> around = macro.scope.lock();
  GRAFT_CHECK(around != nullptr, RenderError, "the macro '", definition.name,
              "' is called after the block that defines it has ended");
  std::string text;
  std::string* outer_out = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer =
      std::exchange(scope_, std::make_shared<Scope>(Scope{around}));
  const int line = line_;
  bind_parameters(definition, arguments);
  run_block(definition.body);
  line_ = line;
  scope_ = outer;
  out_ = outer_out;
  return text;
}

/// Sets the macro's parameters, taking them out of the arguments, in the order Jinja2 does.
void Machine::bind_parameters(const MacroDefinition& macro, CallArguments& arguments) {
  const size_t count = macro.parameters.size();
  std::vector<bool> given(count);
  for (size_t i = 0; i < count; ++i) {
    const auto named = std::ranges::find_if(
        arguments.named, [&](const auto& a) { return a.first == macro.parameter_names[i]; });
    given[i] = i < arguments.positional.size() || named != arguments.named.end();
    if (i < arguments.positional.size()) {
      scope_->set(macro.parameters[i], arguments.positional[i]);
    } else if (given[i]) {
      scope_->set(macro.parameters[i], named->second);
      arguments.named.erase(named);
    } else {
      scope_->set(
          macro.parameters[i],
          Value::undefined(concat("parameter '", macro.parameter_names[i], "' was not provided")));
    }
  }
  bind_rest(macro, arguments);
  const size_t first_default = count - macro.defaults.size();
  for (size_t i = first_default; i < count; ++i)
    if (!given[i])
      scope_->set(macro.parameters[i], evaluate(*macro.defaults[i - first_default]));
}

/// What no parameter takes: caller, kwargs and varargs, where the macro uses them.
void Machine::bind_rest(const MacroDefinition& macro, CallArguments& arguments) {
  const bool explicit_caller =
      std::ranges::find(macro.parameter_names, "caller") != macro.parameter_names.end();
  if (macro.uses_caller && !explicit_caller) {
    const auto caller =
        std::ranges::find_if(arguments.named, [](const auto& a) { return a.first == "caller"; });
    const bool given = caller != arguments.named.end();
    scope_->set(source_.caller, given ? caller->second : Value::undefined("No caller defined"));
    if (given)
      arguments.named.erase(caller);
  }
  if (macro.uses_kwargs) {
    std::vector<std::pair<Value, Value>> rest;
    for (const auto& [name, value] : arguments.named)
      rest.emplace_back(name, value);
    scope_->set(source_.kwargs, Value::dict(std::move(rest)));
  } else if (!arguments.named.empty()) {
    throw RenderError(concat("macro '", macro.name, "' takes no keyword argument '",
                             arguments.named[0].first, "'"));
  }
  const size_t taken = std::min(arguments.positional.size(), macro.parameters.size());
  if (macro.uses_varargs)
    scope_->set(source_.varargs,
                Value::tuple({arguments.positional.begin() + static_cast<int64_t>(taken),
                              arguments.positional.end()}));
  else
    GRAFT_CHECK(taken == arguments.positional.size(), RenderError, "macro '", macro.name,
                "' takes not more than ", macro.parameters.size(), " argument(s)");
}

/// loop(items) of a recursive loop: its body, for those items.
Value Machine::call_loop(const Loop& loop, const CallArguments& arguments) {
  GRAFT_CHECK(loop.statement != nullptr && loop.scope != nullptr, RenderError,
              "The loop must have the 'recursive' marker to be called recursively.");
  GRAFT_CHECK(arguments.positional.size() == 1 && arguments.named.empty(), RenderError,
              "loop() takes 1 argument");
  std::string text;
  std::string* outer_out = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer = std::exchange(scope_, loop.scope);
  run_loop(*loop.statement, arguments.positional[0], loop.depth0 + 1);
  scope_ = outer;
  out_ = outer_out;
  return text;
}

}  // namespace graft::text::jinja
