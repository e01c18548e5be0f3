#include "graft/text/jinja_builtins.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "graft/text/jinja_strings.h"

namespace graft::text::jinja {
namespace {

using Arguments = CallArguments;

std::string expect_text(std::string_view user, const Value& value) {
  const auto* text = value.as<std::string>();
  GRAFT_CHECK(text != nullptr, RenderError, user, ": a string expected, ", value.kind(), " given");
  return *text;
}

Value split(const std::string& text, const Arguments& arguments) {
  std::vector<Value> parts;
  const Value* separator = arguments.find(0, "sep");
  const int64_t most = arguments.integer_or(1, "maxsplit", -1);
  if (separator == nullptr || separator->is<None>()) {
    GRAFT_CHECK(most < 0, RenderError, "split: maxsplit needs a separator");
    for (size_t at = 0; at < text.size();) {
      const auto begin =
          std::find_if_not(text.begin() + static_cast<int64_t>(at), text.end(), is_space);
      const auto end = std::find_if(begin, text.end(), is_space);
      if (begin != end)
        parts.emplace_back(std::string(begin, end));
      at = static_cast<size_t>(end - text.begin());
    }
    return Value::list(std::move(parts));
  }
  const std::string mark = expect_text("split", *separator);
  GRAFT_CHECK(!mark.empty(), RenderError, "split: the separator is empty");
  size_t at = 0;
  for (int64_t done = 0; most < 0 || done < most; ++done) {
    const size_t end = text.find(mark, at);
    if (end == std::string::npos)
      break;
    parts.emplace_back(text.substr(at, end - at));
    at = end + mark.size();
  }
  parts.emplace_back(text.substr(at));
  return Value::list(std::move(parts));
}

std::string join(const Value& items, const Arguments& arguments) {
  const std::string separator = arguments.text_or(0, "d", "");
  const Value* attribute = arguments.find(1, "attribute");
  std::string text;
  bool first = true;
  for (const Value& item : items_of(items)) {
    const Value* part = &item;
    if (attribute != nullptr)
      part = item.entry(expect_text("join", *attribute));
    text += (first ? "" : separator) + (part != nullptr ? part->to_text() : "");
    check_text_size(text.size());
    first = false;
  }
  return text;
}

/// Does a value pass the test that arguments[at] names, with the arguments behind it? Without a
/// test, is it true?
bool passes(const Value& value, const Arguments& arguments, size_t at) {
  const Value* test = arguments.find(at, "");
  if (test == nullptr)
    return value.truthy();
  const std::string name = expect_text("select", *test);
  GRAFT_CHECK(is_test(name), RenderError, "the test '", name, "' is not supported");
  const auto first = arguments.positional.begin() + static_cast<int64_t>(at) + 1;
  return apply_test(name, value, {.positional = {first, arguments.positional.end()}, .named = {}});
}

/// Like items_of, but also none, false … have no items, as Jinja2's select and map have it.
std::vector<Value> items_or_nothing(const Value& value) {
  return value.truthy() ? items_of(value) : std::vector<Value>();
}

/// Items that pass a test, or whose attribute does; with keep = false the others.
Value select(const Value& items, const Arguments& arguments, bool by_attribute, bool keep) {
  GRAFT_CHECK(!by_attribute || !arguments.positional.empty(), RenderError,
              "selectattr: the name of an attribute expected");
  std::vector<Value> kept;
  for (const Value& item : items_or_nothing(items)) {
    Value value = item;
    if (by_attribute) {
      const std::string attribute = expect_text("selectattr", arguments.positional[0]);
      const Value* entry = item.entry(attribute);
      value = entry != nullptr ? *entry : Value(Undefined{attribute});
    }
    if (passes(value, arguments, by_attribute ? 1 : 0) == keep)
      kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

/// map(attribute="name") or map("filter").
Value map(const Value& items, const Arguments& arguments) {
  const Value* attribute = arguments.find(1000, "attribute");
  const Value* filter = arguments.find(0, "");
  GRAFT_CHECK(attribute != nullptr || filter != nullptr, RenderError,
              "map: a filter or attribute= expected");
  std::vector<Value> mapped;
  for (const Value& item : items_or_nothing(items)) {
    if (attribute != nullptr) {
      const Value* entry = item.entry(expect_text("map", *attribute));
      mapped.push_back(entry != nullptr ? *entry : Value());
      continue;
    }
    const std::string name = expect_text("map", *filter);
    GRAFT_CHECK(is_filter(name), RenderError, "map: the filter '", name, "' is not supported");
    mapped.push_back(apply_filter(name, item, {}));
  }
  return Value::list(std::move(mapped));
}

Value to_integer(const Value& value, const Arguments& arguments) {
  const int64_t fallback = arguments.integer_or(0, "default", 0);
  if (value.is_number())
    return static_cast<int64_t>(value.number());
  const auto* text = value.as<std::string>();
  if (text == nullptr)
    return fallback;
  const std::string digits = stripped(*text, "", true, true);
  int64_t integer = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), integer);
  return error == std::errc() && end == digits.data() + digits.size() ? integer : fallback;
}

Value reversed(const Value& value) {
  std::vector<Value> items = items_of(value);
  std::ranges::reverse(items);
  if (!value.is<std::string>())
    return Value::list(std::move(items));
  std::string text;
  for (const Value& item : items)
    text += item.to_text();
  return text;
}

Value pairs_of(const Value& value) {
  std::vector<Value> pairs;
  const auto* dict = value.as<Dict>();
  GRAFT_CHECK(dict != nullptr || value.is<Undefined>(), RenderError, "items: a dict expected, ",
              value.kind(), " given");
  if (dict != nullptr) {
    for (const auto& [key, item] : (*dict)->entries)
      pairs.push_back(Value::list({key, item}));
  }
  return Value::list(std::move(pairs));
}

template <class Member>
Value column_of(const Value& dict, Member member) {
  std::vector<Value> column;
  for (const auto& entry : (*dict.as<Dict>())->entries)
    column.emplace_back(entry.*member);
  return Value::list(std::move(column));
}

using FilterFunction = Value (*)(const Value& object, const Arguments& arguments);
struct FilterEntry {
  std::string_view name;
  FilterFunction run;
};

Value length(const Value& value, const Arguments&) {
  return length_of(value);
}

Value end_of(const Value& value, bool first) {
  const std::vector<Value> items = items_of(value);
  return items.empty() ? Value() : first ? items.front() : items.back();
}

Value fallback(const Value& value, const Arguments& arguments) {
  const Value* also_false = arguments.find(1, "boolean");
  const bool missing =
      value.is<Undefined>() || (also_false != nullptr && also_false->truthy() && !value.truthy());
  const Value* other = arguments.find(0, "default_value");
  return !missing ? value : other != nullptr ? *other : Value(std::string());
}

constexpr FilterEntry filters[] = {
    {"capitalize",
     [](const Value& v, const Arguments&) -> Value { return capitalized(v.to_text(), false); }},
    {"count", length},
    {"d", fallback},
    {"default", fallback},
    {"first", [](const Value& v, const Arguments&) { return end_of(v, true); }},
    {"int", to_integer},
    {"items", [](const Value& v, const Arguments&) { return pairs_of(v); }},
    {"join", [](const Value& v, const Arguments& a) -> Value { return join(v, a); }},
    {"last", [](const Value& v, const Arguments&) { return end_of(v, false); }},
    {"length", length},
    {"list", [](const Value& v, const Arguments&) { return Value::list(items_of(v)); }},
    {"lower",
     [](const Value& v, const Arguments&) -> Value { return with_case(v.to_text(), false); }},
    {"map", map},
    {"reject", [](const Value& v, const Arguments& a) { return select(v, a, false, false); }},
    {"rejectattr", [](const Value& v, const Arguments& a) { return select(v, a, true, false); }},
    {"replace",
     [](const Value& v, const Arguments& a) -> Value {
       return replaced(v.to_text(), a.text_or(0, "old", ""), a.text_or(1, "new", ""),
                       a.integer_or(2, "count", -1));
     }},
    {"reverse", [](const Value& v, const Arguments&) { return reversed(v); }},
    {"safe", [](const Value& v, const Arguments&) { return v; }},
    {"select", [](const Value& v, const Arguments& a) { return select(v, a, false, true); }},
    {"selectattr", [](const Value& v, const Arguments& a) { return select(v, a, true, true); }},
    {"string", [](const Value& v, const Arguments&) -> Value { return v.to_text(); }},
    {"title",
     [](const Value& v, const Arguments&) -> Value { return capitalized(v.to_text(), true); }},
    {"tojson",
     [](const Value& v, const Arguments& a) -> Value {
       return to_json_text(v, static_cast<int>(a.integer_or(1000, "indent", -1)));
     }},
    {"trim",
     [](const Value& v, const Arguments& a) -> Value {
       return stripped(v.to_text(), a.text_or(0, "chars", ""), true, true);
     }},
    {"upper",
     [](const Value& v, const Arguments&) -> Value { return with_case(v.to_text(), true); }},
};

using TestFunction = bool (*)(const Value& object, const Arguments& arguments);
struct TestEntry {
  std::string_view name;
  TestFunction run;
};

const Value& operand(const Arguments& arguments) {
  GRAFT_CHECK(!arguments.positional.empty(), RenderError, "is: an argument expected");
  return arguments.positional[0];
}

int64_t whole(const Value& value) {
  GRAFT_CHECK(value.is<int64_t>(), RenderError, "is: an integer expected, ", value.kind(),
              " given");
  return *value.as<int64_t>();
}

bool equal(const Value& v, const Arguments& a) {
  return v == operand(a);
}
bool unequal(const Value& v, const Arguments& a) {
  return !(v == operand(a));
}

constexpr TestEntry tests[] = {
    {"!=", unequal},
    {"==", equal},
    {"boolean", [](const Value& v, const Arguments&) { return v.is<bool>(); }},
    {"callable", [](const Value& v, const Arguments&) { return v.is<Function>(); }},
    {"defined", [](const Value& v, const Arguments&) { return !v.is<Undefined>(); }},
    {"divisibleby",
     [](const Value& v, const Arguments& a) {
       GRAFT_CHECK(whole(operand(a)) != 0, RenderError, "is divisibleby: division by zero");
       return whole(v) % whole(operand(a)) == 0;
     }},
    {"eq", equal},
    {"equalto", equal},
    {"even", [](const Value& v, const Arguments&) { return whole(v) % 2 == 0; }},
    {"false", [](const Value& v, const Arguments&) { return v.is<bool>() && !v.truthy(); }},
    {"float", [](const Value& v, const Arguments&) { return v.is<double>(); }},
    {"in", [](const Value& v, const Arguments& a) { return contains(operand(a), v); }},
    {"integer", [](const Value& v, const Arguments&) { return v.is<int64_t>(); }},
    {"iterable",
     [](const Value& v, const Arguments&) {
       return v.is<std::string>() || v.is<List>() || v.is<Dict>() || v.is<Undefined>();
     }},
    {"mapping", [](const Value& v, const Arguments&) { return v.is<Dict>(); }},
    {"ne", unequal},
    {"none", [](const Value& v, const Arguments&) { return v.is<None>(); }},
    {"number", [](const Value& v, const Arguments&) { return v.is_number(); }},
    {"odd", [](const Value& v, const Arguments&) { return whole(v) % 2 != 0; }},
    {"sequence",
     [](const Value& v, const Arguments&) {
       return v.is<std::string>() || v.is<List>() || v.is<Dict>() || v.is<Undefined>();
     }},
    {"string", [](const Value& v, const Arguments&) { return v.is<std::string>(); }},
    {"true", [](const Value& v, const Arguments&) { return v.is<bool>() && v.truthy(); }},
    {"undefined", [](const Value& v, const Arguments&) { return v.is<Undefined>(); }},
};

constexpr std::array<std::string_view, 13> text_methods = {
    "capitalize", "endswith", "find",  "lower",      "lstrip", "replace", "rstrip",
    "split",      "strip",    "title", "startswith", "upper",  "count"};
constexpr std::array<std::string_view, 4> dict_methods = {"get", "items", "keys", "values"};
constexpr std::array<std::string_view, 5> functions = {"dict", "namespace", "raise_exception",
                                                       "range", "strftime_now"};

/// True where text starts (ends) with the argument, or with one of a list of them.
bool has_affix(const std::string& text, const Value& affix, bool start) {
  if (const auto* list = affix.as<List>())
    return std::ranges::any_of(**list, [&](const Value& v) { return has_affix(text, v, start); });
  const std::string part = expect_text(start ? "startswith" : "endswith", affix);
  return start ? text.starts_with(part) : text.ends_with(part);
}

Value call_text_method(std::string_view name, const std::string& text, const Arguments& arguments) {
  const std::string first =
      arguments.positional.empty() || !arguments.positional[0].is<std::string>()
          ? ""
          : *arguments.positional[0].as<std::string>();
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return stripped(text, first, name != "rstrip", name != "lstrip");
  if (name == "split")
    return split(text, arguments);
  if (name == "lower" || name == "upper")
    return with_case(text, name == "upper");
  if (name == "title" || name == "capitalize")
    return capitalized(text, name == "title");
  GRAFT_CHECK(!arguments.positional.empty(), RenderError, name, ": an argument expected");
  if (name == "startswith" || name == "endswith")
    return has_affix(text, arguments.positional[0], name == "startswith");
  if (name == "replace")
    return replaced(text, first, arguments.text_or(1, "new", ""),
                    arguments.integer_or(2, "count", -1));
  if (name == "find") {
    const size_t at = text.find(first);
    return at == std::string::npos
               ? int64_t{-1}
               : static_cast<int64_t>(characters_of(std::string_view(text).substr(0, at)).size());
  }
  GRAFT_CHECK(!first.empty(), RenderError, "count: the text to be counted is empty");
  int64_t count = 0;
  for (size_t at = text.find(first); at != std::string::npos;
       at = text.find(first, at + first.size()))
    ++count;
  return count;
}

Value range(const Arguments& arguments) {
  const bool one = arguments.positional.size() == 1;
  const int64_t begin = one ? 0 : arguments.integer_or(0, "", 0);
  const int64_t end = arguments.integer_or(one ? 0 : 1, "", 0);
  const int64_t step = arguments.integer_or(2, "", 1);
  GRAFT_CHECK(step != 0, RenderError, "range: the step is 0");
  std::vector<Value> items;
  for (int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    check_item_count(items.size());
    items.emplace_back(i);
  }
  return Value::list(std::move(items));
}

std::string time_text(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char buffer[256];
  return {buffer, std::strftime(buffer, sizeof buffer, format.c_str(), &local)};
}

}  // namespace

void check_text_size(size_t bytes) {
  GRAFT_CHECK(bytes <= max_text, RenderError, "a text of more than ", max_text, " bytes");
}

void check_item_count(size_t items) {
  GRAFT_CHECK(items <= max_items, RenderError, "a list of more than ", max_items, " items");
}

const Value* CallArguments::find(size_t index, std::string_view name) const {
  if (index < positional.size())
    return &positional[index];
  const auto it = std::ranges::find(
      named, name, [](const auto& item) -> const std::string& { return item.first; });
  return it == named.end() ? nullptr : &it->second;
}

int64_t CallArguments::integer_or(size_t index, std::string_view name, int64_t fallback) const {
  const Value* value = find(index, name);
  if (value == nullptr || value->is<None>())
    return fallback;
  GRAFT_CHECK(value->is<int64_t>(), RenderError, "argument ", name, ": an integer expected, ",
              value->kind(), " given");
  return *value->as<int64_t>();
}

std::string CallArguments::text_or(size_t index, std::string_view name,
                                   std::string_view fallback) const {
  const Value* value = find(index, name);
  return value == nullptr || value->is<None>() ? std::string(fallback)
                                               : expect_text(concat("argument ", name), *value);
}

bool is_filter(std::string_view name) {
  return std::ranges::find(filters, name, &FilterEntry::name) != std::end(filters);
}

bool is_test(std::string_view name) {
  return std::ranges::find(tests, name, &TestEntry::name) != std::end(tests);
}

Value apply_filter(std::string_view name, const Value& object, const CallArguments& arguments) {
  return std::ranges::find(filters, name, &FilterEntry::name)->run(object, arguments);
}

bool apply_test(std::string_view name, const Value& object, const CallArguments& arguments) {
  return std::ranges::find(tests, name, &TestEntry::name)->run(object, arguments);
}

bool has_method(const Value& object, std::string_view name) {
  if (object.is<std::string>())
    return std::ranges::find(text_methods, name) != text_methods.end();
  return object.is<Dict>() && std::ranges::find(dict_methods, name) != dict_methods.end();
}

Value call_method(std::string_view name, const Value& object, const CallArguments& arguments) {
  if (const auto* text = object.as<std::string>())
    return call_text_method(name, *text, arguments);
  if (name == "items")
    return pairs_of(object);
  if (name == "keys")
    return column_of(object, &std::pair<std::string, Value>::first);
  if (name == "values")
    return column_of(object, &std::pair<std::string, Value>::second);
  const Value* found = object.entry(arguments.text_or(0, "key", ""));
  const Value* other = arguments.find(1, "default");
  return found != nullptr ? *found : other != nullptr ? *other : Value(None{});
}

bool is_function(std::string_view name) {
  return std::ranges::find(functions, name) != functions.end();
}

Value call_function(std::string_view name, const CallArguments& arguments) {
  if (name == "raise_exception")
    throw RenderError(concat("the template refuses: ", arguments.text_or(0, "message", "")));
  if (name == "range")
    return range(arguments);
  if (name == "strftime_now")
    return time_text(arguments.text_or(0, "format", ""));
  auto entries = std::make_shared<DictEntries>(DictEntries{arguments.named});
  if (name == "namespace")
    return Namespace{std::move(entries)};
  return Value(Dict(std::move(entries)));
}

std::vector<Value> items_of(const Value& value) {
  if (const auto* list = value.as<List>())
    return **list;
  std::vector<Value> items;
  if (const auto* text = value.as<std::string>()) {
    for (std::string& character : characters_of(*text))
      items.emplace_back(std::move(character));
    return items;
  }
  if (const auto* dict = value.as<Dict>()) {
    for (const auto& [key, item] : (*dict)->entries)
      items.emplace_back(key);
    return items;
  }
  GRAFT_CHECK(value.is<Undefined>(), RenderError, value.kind(), " has no items");
  return items;
}

int64_t length_of(const Value& value) {
  if (const auto* list = value.as<List>())
    return static_cast<int64_t>((*list)->size());
  return static_cast<int64_t>(items_of(value).size());
}

bool contains(const Value& container, const Value& value) {
  if (const auto* text = container.as<std::string>())
    return text->find(expect_text("in", value)) != std::string::npos;
  const std::vector<Value> items = items_of(container);
  return std::ranges::find(items, value) != items.end();
}

}  // namespace graft::text::jinja
