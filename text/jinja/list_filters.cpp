// Filters that go through the items of a list or a dict.
#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "graft/text/jinja/builtins.h"
#include "graft/text/jinja/operators.h"
#include "graft/text/jinja/print.h"
#include "graft/text/jinja/strings.h"

namespace graft::text::jinja {
namespace {

/// What `attribute="a.b.0"` takes out of an item.
class AttributeGetter {
 public:
  /// An attribute of none gives the item itself.
  explicit AttributeGetter(const Value& attribute) {
    if (const std::string* text = attribute.text()) {
      for (const std::string_view part : parts_of(*text, ".", -1, false))
        parts_.push_back(part_of(part));
    } else if (!attribute.is_none()) {
      parts_.push_back(attribute);
    }
  }

  Value operator()(Value value, const Value* fallback = nullptr) const {
    for (const Value& part : parts_) {
      value = item(value, part);
      if (value.is_undefined() && fallback != nullptr && !fallback->is_none())
        value = *fallback;
    }
    return value;
  }

 private:
  static Value part_of(std::string_view part) {
    int64_t index = 0;
    const char* end = part.data() + part.size();
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    if (digits && std::from_chars(part.data(), end, index).ptr == end)
      return index;
    return part;
  }

  std::vector<Value> parts_;
};

AttributeGetter getter_of(const Call& call, size_t parameter) {
  return AttributeGetter(call.find(parameter) != nullptr ? *call.find(parameter) : Value());
}

/// What is compared of a value: of a text, unless case counts, the lower case.
Value key_of(const Value& value, bool case_sensitive) {
  return case_sensitive || value.text() == nullptr ? value : Value(to_lower(*value.text()));
}

/// sorted() by keys; equal ones keep their order, also where it is reversed.
std::vector<Value> sorted(std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::ranges::stable_sort(keyed, [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  std::vector<Value> items;
  for (auto& [key, value] : keyed)
    items.push_back(std::move(value));
  return items;
}

/// Sorting compares every item a few times.
void charge_sort(const Call& call, size_t items) {
  const Value& object = call.object;
  int64_t rounds = 1;
  for (size_t n = items; n > 1; n /= 2)
    ++rounds;
  call.run.charge(rounds * std::max(object.weight(), static_cast<int64_t>(items)));
}

/// iterate(), at the first item: as in Python, what cannot be gone through is an error only then.
std::function<std::optional<Value>()> iterate_later(const Value& value) {
  return [value, next = std::function<std::optional<Value>()>()]() mutable {
    if (!next)
      next = iterate(value);
    return next();
  };
}

Value generator_of(std::vector<Value> items) {
  const Value list = Value::list(std::move(items));
  return Value::generator(iterate(list), list.depth());
}

Value batch(const Call& call) {
  const int64_t size = call.integer(0);
  const Value* filler = call.find(1);
  std::vector<Value> rows;
  std::vector<Value> row;
  for (Value& item : items_of(call.object)) {
    if (static_cast<int64_t>(row.size()) == size)
      rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    check_item_count(static_cast<size_t>(std::max<int64_t>(size, 0)));
    while (filler != nullptr && !filler->is_none() && static_cast<int64_t>(row.size()) < size)
      row.push_back(*filler);
    rows.push_back(Value::list(std::move(row)));
  }
  return generator_of(std::move(rows));
}

Value default_value(const Call& call) {
  const bool missing = call.object.is_undefined() || (call.flag(1) && !call.object.truthy());
  return !missing ? call.object : call.find(0) != nullptr ? *call.find(0) : Value("");
}

Value dict_sort(const Call& call) {
  call.object.check_defined();
  if (call.object.dict() == nullptr)
    call.fail(concat("a dict expected, ", call.object.type(), " given"));
  const std::string by = call.text(1, "key");
  GRAFT_CHECK(by == "key" || by == "value", RenderError,
              "You can only sort by either \"key\" or \"value\"");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : call.object.dict()->entries)
    keyed.emplace_back(key_of(by == "key" ? key : value, call.flag(0)), Value::tuple({key, value}));
  charge_sort(call, keyed.size());
  return Value::list(sorted(std::move(keyed), call.flag(2)));
}

Value first(const Call& call) {
  auto item = iterate(call.object)();
  return item ? std::move(*item) : Value::undefined("No first item, sequence was empty.");
}

Value last(const Call& call) {
  GRAFT_CHECK(call.object.generator() == nullptr, RenderError,
              "'generator' object is not reversible");
  const Value& object = call.object;
  if (object.text() != nullptr && !object.text()->empty())
    return item(object, int64_t{-1});
  std::vector<Value> items = items_of(object);
  return items.empty() ? Value::undefined("No last item, sequence was empty.")
                       : std::move(items.back());
}

Value group_by(const Call& call) {
  const AttributeGetter attribute = getter_of(call, 0);
  const bool case_sensitive = call.flag(2);
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items_of(call.object)) {
    Value key = key_of(attribute(item, call.find(1)), case_sensitive);
    keyed.emplace_back(key, Value::tuple({key, std::move(item)}));
  }
  charge_sort(call, keyed.size());
  std::vector<Value> groups;
  std::vector<Value> members;
  std::optional<Value> group_key;
  const auto close = [&] {
    if (members.empty())
      return;
    Value shown = case_sensitive ? *group_key : attribute(members[0], call.find(1));
    Value list = Value::list(std::exchange(members, {}));
    groups.push_back(Value::sequence({.kind = SequenceKind::tuple,
                                      .items = {std::move(shown), std::move(list)},
                                      .is_group = true}));
  };
  for (const Value& entry : sorted(std::move(keyed), false)) {
    const std::vector<Value>& pair = entry.sequence()->items;
    if (group_key && !(*group_key == pair[0]))
      close();
    group_key = pair[0];
    members.push_back(pair[1]);
  }
  close();
  return Value::list(std::move(groups));
}

Value items(const Call& call) {
  if (call.object.is_undefined())
    return generator_of({});
  GRAFT_CHECK(call.object.dict() != nullptr, RenderError,
              "Can only get item pairs from a mapping.");
  std::vector<Value> pairs;
  for (const auto& [key, value] : call.object.dict()->entries)
    pairs.push_back(Value::tuple({key, value}));
  return generator_of(std::move(pairs));
}

Value join(const Call& call) {
  const std::string separator = call.find(0) != nullptr ? to_text(*call.find(0)) : "";
  const AttributeGetter attribute = getter_of(call, 1);
  const auto next = iterate(call.object);
  std::string text;
  for (bool is_first = true; auto value = next(); is_first = false) {
    text += is_first ? "" : separator;
    text += to_text(attribute(std::move(*value)));
    check_text_size(text.size());
  }
  return text;
}

Value length(const Call& call) {
  if (call.object.text() != nullptr)
    charge(call.run, Cost::shallow, call.object);
  return length_of(call.object);
}

Value list(const Call& call) {
  return Value::list(items_of(call.object));
}

/// map(attribute=…) or map("filter", arguments…).
Value map(const Call& call) {
  const CallArguments& given = call.arguments;
  if (!call.object.truthy())
    return generator_of({});
  const auto named = [&](std::string_view name) {
    const auto it = std::ranges::find_if(given.named, [&](auto& a) { return a.first == name; });
    return it != given.named.end() ? std::optional(it->second) : std::nullopt;
  };
  const auto next = iterate_later(call.object);
  if (given.positional.empty() && named("attribute")) {
    for (const auto& [name, value] : given.named)
      GRAFT_CHECK(name == "attribute" || name == "default", RenderError,
                  "Unexpected keyword argument '", name, "'");
    return Value::generator(
        [next, attribute = AttributeGetter(*named("attribute")),
         fallback = named("default")]() -> std::optional<Value> {
          auto value = next();
          return value ? std::optional(attribute(*value, fallback ? &*fallback : nullptr))
                       : std::nullopt;
        },
        call.object.depth());
  }
  GRAFT_CHECK(!given.positional.empty(), RenderError, "map requires a filter argument");
  const std::string name = to_text(given.positional[0]);
  const Builtin* filter = find_filter(name);
  GRAFT_CHECK(filter != nullptr, RenderError, "map: the filter '", name, "' is not supported");
  CallArguments rest{{given.positional.begin() + 1, given.positional.end()}, given.named};
  return Value::generator(
      [&run = call.run, next, filter, rest = std::move(rest)]() -> std::optional<Value> {
        auto value = next();
        return value ? std::optional(jinja::call(run, *filter, *value, rest)) : std::nullopt;
      },
      call.object.depth());
}

Value extreme(const Call& call) {
  const AttributeGetter attribute = getter_of(call, 1);
  std::optional<Value> best;
  Value best_key;
  const auto next = iterate(call.object);
  while (auto value = next()) {
    const Value key = key_of(attribute(*value), call.flag(0));
    const bool better =
        !best || (call.builtin.name == "min" ? less(key, best_key) : less(best_key, key));
    if (!better)
      continue;
    best = std::move(value);
    best_key = key;
  }
  return best ? *best : Value::undefined("No aggregated item, sequence was empty.");
}

Value reverse(const Call& call) {
  if (call.object.text() != nullptr)
    return slice(call.object, {}, {}, int64_t{-1});
  std::vector<Value> values = items_of(call.object);
  std::ranges::reverse(values);
  return generator_of(std::move(values));
}

/// The items that pass a test, or whose attribute does; reject keeps the others.
Value select(const Call& call) {
  const std::vector<Value>& given = call.arguments.positional;
  if (!call.object.truthy())
    return generator_of({});
  const bool by_attribute = call.builtin.name.ends_with("attr");
  const size_t at = by_attribute ? 1 : 0;
  GRAFT_CHECK(given.size() >= at, RenderError, "Missing parameter for attribute name");
  const Builtin* test = nullptr;
  CallArguments rest{{}, call.arguments.named};
  if (given.size() > at) {
    const std::string name = to_text(given[at]);
    test = find_test(name);
    GRAFT_CHECK(test != nullptr, RenderError, "the test '", name, "' is not supported");
    rest.positional.assign(given.begin() + static_cast<int64_t>(at) + 1, given.end());
  }
  const bool keep = call.builtin.name.starts_with("select");
  return Value::generator(
      [&run = call.run, next = iterate_later(call.object), test, rest = std::move(rest), keep,
       attribute = AttributeGetter(by_attribute ? given[0] : Value())]() -> std::optional<Value> {
        while (auto value = next()) {
          run.charge(1);
          const Value tested = attribute(*value);
          const bool passes =
              test != nullptr ? jinja::call(run, *test, tested, rest).truthy() : tested.truthy();
          if (passes == keep)
            return value;
        }
        return std::nullopt;
      },
      call.object.depth());
}

Value slices(const Call& call) {
  const std::vector<Value> values = items_of(call.object);
  const int64_t count = call.integer(0);
  GRAFT_CHECK(count != 0, RenderError, "integer division or modulo by zero");
  check_item_count(static_cast<size_t>(std::max<int64_t>(count, 0)));
  const Value* filler = call.find(1);
  std::vector<Value> rows;
  auto begin = values.begin();
  for (int64_t row = 0; row < count; ++row) {
    const auto size = static_cast<int64_t>(values.size()) / count;
    const bool longer = row < static_cast<int64_t>(values.size()) % count;
    const auto end = begin + size + (longer ? 1 : 0);
    std::vector<Value> part(begin, end);
    if (filler != nullptr && !filler->is_none() && !longer)
      part.push_back(*filler);
    rows.push_back(Value::list(std::move(part)));
    begin = end;
  }
  return generator_of(std::move(rows));
}

/// By one attribute, or by several with commas between.
Value sort(const Call& call) {
  std::vector<AttributeGetter> attributes;
  if (const Value* names = call.find(2); names != nullptr && names->text() != nullptr) {
    for (const std::string_view name : parts_of(*names->text(), ",", -1, false))
      attributes.emplace_back(Value(name));
  } else {
    attributes.push_back(getter_of(call, 2));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& value : items_of(call.object)) {
    std::vector<Value> key;
    for (const AttributeGetter& attribute : attributes)
      key.push_back(key_of(attribute(value), call.flag(1)));
    keyed.emplace_back(Value::list(std::move(key)), std::move(value));
  }
  charge_sort(call, keyed.size());
  return Value::list(sorted(std::move(keyed), call.flag(0)));
}

Value sum(const Call& call) {
  const AttributeGetter attribute = getter_of(call, 0);
  Value total = call.find(1) != nullptr ? *call.find(1) : Value(int64_t{0});
  GRAFT_CHECK(total.text() == nullptr, RenderError,
              "sum() can't sum strings [use ''.join(seq) instead]");
  const auto next = iterate(call.object);
  while (auto value = next())
    total = calculate(call.run, Operator::add, total, attribute(std::move(*value)));
  return total;
}

Value unique(const Call& call) {
  const AttributeGetter attribute = getter_of(call, 1);
  const auto hash = [](const Value& value) { return value.hash(); };
  std::unordered_set<Value, decltype(hash)> seen;
  std::vector<Value> kept;
  for (Value& value : items_of(call.object))
    if (seen.insert(key_of(attribute(value), call.flag(0))).second)
      kept.push_back(std::move(value));
  return generator_of(std::move(kept));
}

constexpr Builtin table[] = {
    {"batch", "linecount fill_with", 1, Cost::shallow, batch},
    {"count", "", 0, Cost::constant, length},
    {"d", "default_value boolean", 0, Cost::constant, default_value},
    {"default", "default_value boolean", 0, Cost::constant, default_value},
    {"dictsort", "case_sensitive by reverse", 0, Cost::shallow, dict_sort},
    {"first", "", 0, Cost::constant, first},
    {"groupby", "attribute default case_sensitive", 1, Cost::deep, group_by},
    {"items", "", 0, Cost::shallow, items},
    {"join", "d attribute", 0, Cost::deep, join},
    {"last", "", 0, Cost::shallow, last},
    {"length", "", 0, Cost::constant, length},
    {"list", "", 0, Cost::shallow, list},
    {"map", "*", 0, Cost::shallow, map},
    {"max", "case_sensitive attribute", 0, Cost::deep, extreme},
    {"min", "case_sensitive attribute", 0, Cost::deep, extreme},
    {"reject", "*", 0, Cost::shallow, select},
    {"rejectattr", "*", 0, Cost::shallow, select},
    {"reverse", "", 0, Cost::shallow, reverse},
    {"select", "*", 0, Cost::shallow, select},
    {"selectattr", "*", 0, Cost::shallow, select},
    {"slice", "slices fill_with", 1, Cost::shallow, slices},
    {"sort", "reverse case_sensitive attribute", 0, Cost::shallow, sort},
    {"sum", "attribute start", 0, Cost::deep, sum},
    {"unique", "case_sensitive attribute", 0, Cost::deep, unique},
};

}  // namespace

std::span<const Builtin> list_filters() {
  return table;
}

}  // namespace graft::text::jinja
