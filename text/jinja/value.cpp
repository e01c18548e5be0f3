#include "graft/text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/text/jinja/strings.h"

namespace graft::text::jinja {
namespace {

/// Values one container may hold in all.
constexpr int64_t max_weight = 10'000'000;
/// A dict of fewer entries is searched from its beginning.
constexpr size_t indexed_entries = 12;

/// Counts a value into the depth and the weight of what holds it.
void add_part(const Value& part, int& depth, int64_t& weight) {
  depth = std::max(depth, part.depth() + 1);
  weight += part.weight();
}

void check_container(int depth, int64_t weight) {
  GRAFT_CHECK(depth <= max_nesting, RenderError, "more than ", max_nesting,
              " lists, dicts or generators inside each other");
  GRAFT_CHECK(weight <= max_weight, RenderError, "a list or dict with more than ", max_weight,
              " values in it");
}

bool equal_keys(const Value& key, std::string_view text) {
  return key.text() != nullptr && *key.text() == text;
}

size_t hash_of_text(std::string_view text) {
  return std::hash<std::string_view>()(text);
}

/// The same list or dict, or equal values of another kind.
bool is_same_object(const Value& a, const Value& b) {
  if (a.sequence() != nullptr || a.dict() != nullptr)
    return a.sequence() == b.sequence() && a.dict() == b.dict();
  return a == b;
}

bool equal_dicts(const Dict& a, const Dict& b) {
  return a.entries.size() == b.entries.size() && std::ranges::all_of(a.entries, [&](const auto& e) {
           const Value* other = b.find(e.first);
           return other != nullptr && e.second == *other;
         });
}

}  // namespace

void check_text_size(size_t bytes) {
  GRAFT_CHECK(bytes <= max_text, RenderError, "a text of more than ", max_text, " bytes");
}

void check_item_count(size_t items) {
  GRAFT_CHECK(items <= max_items, RenderError, "a list of more than ", max_items, " items");
}

Value Value::undefined(std::string why) {
  return Value(Storage(Undefined{std::make_shared<const std::string>(std::move(why))}));
}

Value Value::undefined_name(std::string_view name) {
  return undefined(concat("'", name, "' is undefined"));
}

Value Value::sequence(Sequence sequence) {
  check_item_count(sequence.items.size());
  for (const Value& item : sequence.items)
    add_part(item, sequence.depth, sequence.weight);
  check_container(sequence.depth, sequence.weight);
  return Value(Storage(std::make_shared<const Sequence>(std::move(sequence))));
}

Value Value::list(std::vector<Value> items) {
  return sequence({SequenceKind::list, std::move(items)});
}

Value Value::tuple(std::vector<Value> items) {
  return sequence({SequenceKind::tuple, std::move(items)});
}

Value Value::dict(std::vector<std::pair<Value, Value>> entries) {
  check_item_count(entries.size());
  const auto dict = std::make_shared<Dict>();
  const bool indexed = entries.size() > indexed_entries;
  for (auto& [key, value] : entries) {
    const size_t hash = key.hash();
    if (const Value* known = dict->find(key)) {
      *const_cast<Value*>(known) = std::move(value);
      continue;
    }
    if (indexed)
      dict->index.emplace(hash, dict->entries.size());
    dict->entries.emplace_back(std::move(key), std::move(value));
  }
  for (const auto& [key, value] : dict->entries) {
    add_part(key, dict->depth, dict->weight);
    add_part(value, dict->depth, dict->weight);
  }
  check_container(dict->depth, dict->weight);
  return Value(Storage(std::shared_ptr<const Dict>(dict)));
}

Value Value::generator(std::function<std::optional<Value>()> next, int depth_of_source) {
  check_container(depth_of_source + 1, 1);
  return Value(
      Storage(std::make_shared<Generator>(Generator{std::move(next), depth_of_source + 1})));
}

Value Value::from_json(const io::Json& json) {
  using Kind = io::Json::value_t;
  switch (json.type()) {
    case Kind::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, item] : json.items())
        entries.emplace_back(key, from_json(item));
      return dict(std::move(entries));
    }
    case Kind::array: {
      std::vector<Value> items;
      for (const io::Json& item : json)
        items.push_back(from_json(item));
      return list(std::move(items));
    }
    case Kind::string:
      return json.get<std::string>();
    case Kind::boolean:
      return json.get<bool>();
    case Kind::number_integer:
    case Kind::number_unsigned:
      return json.get<int64_t>();
    case Kind::number_float:
      return json.get<double>();
    default:
      return {};
  }
}

const std::string* Value::text() const {
  const auto* text = as<Text>();
  return text != nullptr ? text->bytes.get() : nullptr;
}

bool Value::is_markup() const {
  const auto* text = as<Text>();
  return text != nullptr && text->markup;
}

const Sequence* Value::sequence() const {
  const auto* pointer = as<std::shared_ptr<const Sequence>>();
  return pointer != nullptr ? pointer->get() : nullptr;
}

const Dict* Value::dict() const {
  const auto* pointer = as<std::shared_ptr<const Dict>>();
  return pointer != nullptr ? pointer->get() : nullptr;
}

Generator* Value::generator() const {
  const auto* pointer = as<std::shared_ptr<Generator>>();
  return pointer != nullptr ? pointer->get() : nullptr;
}

Namespace* Value::name_space() const {
  Namespace* const* pointer = as<Namespace*>();
  return pointer != nullptr ? *pointer : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const auto* flag = as<bool>())
    return *flag;
  const auto* integer = as<int64_t>();
  return integer != nullptr ? std::optional(*integer) : std::nullopt;
}

std::optional<double> Value::number() const {
  if (const auto* real = as<double>())
    return *real;
  const auto whole = integer();
  return whole ? std::optional(static_cast<double>(*whole)) : std::nullopt;
}

bool Value::truthy() const {
  if (const auto number_ = number())
    return *number_ != 0;
  if (const std::string* text_ = text())
    return !text_->empty();
  if (const Sequence* items = sequence())
    return !items->items.empty();
  if (const Dict* entries = dict())
    return !entries->entries.empty();
  return !is_undefined() && !is_none();
}

std::string_view Value::type() const {
  if (const Sequence* items = sequence()) {
    constexpr std::string_view kinds[] = {"list",      "tuple",       "range",
                                          "dict_keys", "dict_values", "dict_items"};
    return kinds[static_cast<size_t>(items->kind)];
  }
  constexpr std::string_view types[] = {"Undefined",
                                        "NoneType",
                                        "bool",
                                        "int",
                                        "float",
                                        "str",
                                        "list",
                                        "dict",
                                        "generator",
                                        "TemplateNamespace",
                                        "LoopContext",
                                        "Macro",
                                        "builtin_function_or_method",
                                        "function"};
  return is_markup() ? "Markup" : types[storage_.index()];
}

int Value::depth() const {
  if (const Sequence* items = sequence())
    return items->depth;
  if (const Dict* entries = dict())
    return entries->depth;
  const Generator* source = generator();
  return source != nullptr ? source->depth : 0;
}

int64_t Value::weight() const {
  if (const std::string* text_ = text())
    return 1 + static_cast<int64_t>(text_->size() / 32);
  if (const Sequence* items = sequence())
    return items->weight;
  const Dict* entries = dict();
  return entries != nullptr ? entries->weight : 1;
}

void Value::check_defined() const {
  if (const auto* missing = as<Undefined>())
    throw RenderError(*missing->why);
}

bool operator==(const Value& a, const Value& b) {
  const auto left = a.number();
  const auto right = b.number();
  if (left && right) {
    const auto x = a.integer();
    const auto y = b.integer();
    return x && y ? *x == *y : *left == *right;
  }
  if (a.storage_.index() != b.storage_.index())
    return false;
  if (const std::string* text = a.text())
    return *text == *b.text();
  if (const Sequence* items = a.sequence())
    return items == b.sequence() ||
           (items->kind == b.sequence()->kind && items->items == b.sequence()->items);
  if (const Dict* dict = a.dict())
    return dict == b.dict() || equal_dicts(*dict, *b.dict());
  if (a.generator() != nullptr)
    return a.generator() == b.generator();
  if (a.name_space() != nullptr)
    return a.name_space() == b.name_space();
  if (const auto* loop = a.as<std::shared_ptr<Loop>>())
    return *loop == *b.as<std::shared_ptr<Loop>>();
  if (const auto* macro = a.as<std::shared_ptr<const Macro>>())
    return *macro == *b.as<std::shared_ptr<const Macro>>();
  if (const auto* method = a.as<Method>())
    return method->method == b.as<Method>()->method &&
           is_same_object(*method->self, *b.as<Method>()->self);
  if (const auto* function = a.as<Function>())
    return function->function == b.as<Function>()->function;
  return true;  // both none, or both undefined
}

size_t Value::hash() const {
  if (const auto number_ = number())
    return std::hash<double>()(*number_);
  if (const std::string* text_ = text())
    return hash_of_text(*text_);
  const Sequence* items = sequence();
  if (items != nullptr && items->kind == SequenceKind::tuple) {
    size_t hash = items->items.size();
    for (const Value& item : items->items)
      hash = hash * 1'000'003 + item.hash();
    return hash;
  }
  GRAFT_CHECK(items == nullptr && dict() == nullptr, RenderError, "unhashable type: '", type(),
              "'");
  return storage_.index();
}

const Value* Dict::find(const Value& key) const {
  if (index.empty()) {
    const auto entry = std::ranges::find_if(entries, [&](const auto& e) { return e.first == key; });
    return entry != entries.end() ? &entry->second : nullptr;
  }
  const auto [begin, end] = index.equal_range(key.hash());
  const auto at = std::find_if(begin, end, [&](auto e) { return entries[e.second].first == key; });
  return at != end ? &entries[at->second].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (index.empty()) {
    const auto entry =
        std::ranges::find_if(entries, [&](const auto& e) { return equal_keys(e.first, key); });
    return entry != entries.end() ? &entry->second : nullptr;
  }
  const auto [begin, end] = index.equal_range(hash_of_text(key));
  const auto at =
      std::find_if(begin, end, [&](auto e) { return equal_keys(entries[e.second].first, key); });
  return at != end ? &entries[at->second].second : nullptr;
}

const Value* Namespace::find(std::string_view name) const {
  const auto it = std::ranges::find_if(members, [&](const auto& m) { return m.first == name; });
  return it != members.end() ? &it->second : nullptr;
}

void Namespace::set(std::string_view name, Value value) {
  if (const Value* known = find(name)) {
    *const_cast<Value*>(known) = std::move(value);
    return;
  }
  check_item_count(members.size() + 1);
  members.emplace_back(std::string(name), std::move(value));
}

std::function<std::optional<Value>()> iterate(const Value& value) {
  if (const auto* shared = value.as<std::shared_ptr<Generator>>())
    return [source = *shared] { return source->next(); };
  if (const auto* shared = value.as<std::shared_ptr<const Sequence>>())
    return [items = *shared, at = size_t{0}]() mutable {
      return at < items->items.size() ? std::optional(items->items[at++]) : std::nullopt;
    };
  if (const auto* shared = value.as<std::shared_ptr<const Dict>>())
    return [dict = *shared, at = size_t{0}]() mutable {
      return at < dict->entries.size() ? std::optional(dict->entries[at++].first) : std::nullopt;
    };
  if (const auto* text = value.as<Text>())
    return [text = *text, at = size_t{0}]() mutable -> std::optional<Value> {
      if (at >= text.bytes->size())
        return std::nullopt;
      const size_t size = size_of_character(*text.bytes, at);
      at += size;
      return Value(text.bytes->substr(at - size, size));
    };
  GRAFT_CHECK(value.is_undefined(), RenderError, "'", value.type(), "' object is not iterable");
  return [] { return std::optional<Value>(); };
}

std::vector<Value> items_of(const Value& value) {
  if (const Sequence* sequence = value.sequence())
    return sequence->items;
  const auto next = iterate(value);
  std::vector<Value> items;
  while (auto item = next()) {
    check_item_count(items.size() + 1);
    items.push_back(std::move(*item));
  }
  return items;
}

}  // namespace graft::text::jinja
