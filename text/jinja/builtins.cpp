#include "graft/text/jinja/builtins.h"

#include <algorithm>

namespace graft::text::jinja {
namespace {

const Builtin* find(std::span<const Builtin> table, std::string_view name) {
  const auto row = std::ranges::find(table, name, &Builtin::name);
  return row != table.end() ? &*row : nullptr;
}

std::vector<std::string_view> names_of(std::string_view parameters) {
  std::vector<std::string_view> names;
  while (!parameters.empty()) {
    const size_t end = std::min(parameters.find(' '), parameters.size());
    names.push_back(parameters.substr(0, end));
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  return names;
}

/// The arguments by parameter, as Python binds them.
std::vector<const Value*> bound(const Builtin& builtin, const CallArguments& arguments) {
  const std::vector<std::string_view> names = names_of(builtin.parameters);
  std::vector<const Value*> bound(names.size());
  GRAFT_CHECK(arguments.positional.size() <= names.size(), RenderError, builtin.name, "() takes ",
              names.size(), " arguments, ", arguments.positional.size(), " were given");
  for (size_t i = 0; i < arguments.positional.size(); ++i)
    bound[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = static_cast<size_t>(std::ranges::find(names, name) - names.begin());
    GRAFT_CHECK(at < names.size(), RenderError, builtin.name,
                "() got an unexpected keyword argument '", name, "'");
    GRAFT_CHECK(bound[at] == nullptr, RenderError, builtin.name,
                "() got multiple values for argument '", name, "'");
    bound[at] = &value;
  }
  for (size_t i = 0; i < builtin.required; ++i)
    GRAFT_CHECK(bound[i] != nullptr, RenderError, builtin.name, "() is missing its argument '",
                names[i], "'");
  return bound;
}

/// Python's methods that graft does not have.
bool is_unsupported_method(const Value& object, std::string_view name) {
  constexpr std::string_view of_text[] = {"casefold",     "encode",      "expandtabs", "format_map",
                                          "isidentifier", "isprintable", "maketrans",  "translate"};
  constexpr std::string_view of_numbers[] = {
      "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
      "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
      "numerator",        "real",      "to_bytes"};
  const auto among = [&](std::span<const std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
  };
  return object.text() != nullptr ? among(of_text) : object.number() && among(of_numbers);
}

}  // namespace

void Run::charge(int64_t steps) {
  steps_ += steps;
  GRAFT_CHECK(steps_ <= max_steps, RenderError, "more than ", max_steps, " steps");
}

Value Run::make_namespace(std::vector<std::pair<std::string, Value>> members) {
  charge(8 + static_cast<int64_t>(members.size()));  // they stay until the end of the render
  namespaces_.push_back(std::make_unique<Namespace>(Namespace{std::move(members)}));
  return Value(Value::Storage(namespaces_.back().get()));
}

int64_t Call::integer(size_t parameter) const {
  const auto value = (*this)[parameter].integer();
  if (!value)
    fail(concat("an integer expected, ", (*this)[parameter].type(), " given"));
  return *value;
}

int64_t Call::integer(size_t parameter, int64_t fallback) const {
  return bound[parameter] == nullptr || bound[parameter]->is_none() ? fallback : integer(parameter);
}

std::string Call::text(size_t parameter) const {
  (*this)[parameter].check_defined();
  const std::string* text = (*this)[parameter].text();
  if (text == nullptr)
    fail(concat("a str expected, ", (*this)[parameter].type(), " given"));
  return *text;
}

std::string Call::text(size_t parameter, std::string_view fallback) const {
  return bound[parameter] == nullptr || bound[parameter]->is_none() ? std::string(fallback)
                                                                    : text(parameter);
}

bool Call::flag(size_t parameter, bool fallback) const {
  return bound[parameter] != nullptr ? bound[parameter]->truthy() : fallback;
}

void Call::fail(std::string_view what) const {
  throw RenderError(concat(builtin.name, ": ", what));
}

void charge(Run& run, Cost cost, const Value& value) {
  if (cost == Cost::constant)
    return;
  if (const Sequence* items = value.sequence(); items != nullptr && cost == Cost::shallow)
    run.charge(static_cast<int64_t>(items->items.size()));
  else if (const Dict* dict = value.dict(); dict != nullptr && cost == Cost::shallow)
    run.charge(static_cast<int64_t>(dict->entries.size()));
  else
    run.charge(value.weight());
}

Value call(Run& run, const Builtin& builtin, const Value& object, const CallArguments& arguments) {
  charge(run, builtin.cost, object);
  if (builtin.cost == Cost::deep) {
    for (const Value& argument : arguments.positional)
      charge(run, builtin.cost, argument);
  }
  const bool takes_any = builtin.parameters == "*";
  const Call call{run, builtin, object, arguments,
                  takes_any ? std::vector<const Value*>() : bound(builtin, arguments)};
  Value result = builtin.function(call);
  if (builtin.cost != Cost::constant)
    charge(run, Cost::shallow, result);
  return result;
}

const Builtin* find_filter(std::string_view name) {
  const Builtin* filter = find(text_filters(), name);
  return filter != nullptr ? filter : find(list_filters(), name);
}

const Builtin* find_test(std::string_view name) {
  return find(test_functions(), name);
}

const Builtin* find_function(std::string_view name) {
  return find(global_functions(), name);
}

const Builtin* find_method(const Value& object, std::string_view name) {
  GRAFT_CHECK(!is_unsupported_method(object, name), RenderError, "the method '", name, "' of ",
              object.type(), " is not supported");
  if (object.text() != nullptr)
    return find(text_methods(), name);
  if (object.dict() != nullptr)
    return find(dict_methods(), name);
  const Sequence* items = object.sequence();
  if (items == nullptr || !items->has_indices())
    return nullptr;
  return items->kind != SequenceKind::list && name == "copy" ? nullptr : find(list_methods(), name);
}

bool changes_object(const Value& object, std::string_view name) {
  constexpr std::string_view of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
  constexpr std::string_view of_lists[] = {"append", "clear",  "extend",  "insert",
                                           "pop",    "remove", "reverse", "sort"};
  if (object.dict() != nullptr)
    return std::ranges::find(of_dicts, name) != std::end(of_dicts);
  const Sequence* items = object.sequence();
  return items != nullptr && items->kind == SequenceKind::list &&
         std::ranges::find(of_lists, name) != std::end(of_lists);
}

}  // namespace graft::text::jinja
