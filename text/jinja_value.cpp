#include "graft/text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace graft::text::jinja {
namespace {

/// Python's repr of a float: the shortest text that reads back, with a point or an exponent.
std::string float_text(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer, end);
  if (plain && text.find('.') == std::string::npos)
    text += ".0";
  return text;
}

/// Python's repr of a string: single quotes unless only they occur inside.
std::string quoted(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else if (c == quote || c == '\\')
      out += {'\\', c};
    else
      out += c;
  }
  return out + quote;
}

std::string json_string(const std::string& text) {
  return io::Json(text).dump(-1, ' ', false, io::Json::error_handler_t::replace);
}

/// Joins the parts of a list or an object, on lines of their own where there is an indent.
std::string joined(const std::vector<std::string>& parts, char open, char close, int indent,
                   int depth) {
  if (parts.empty())
    return {open, close};
  const auto line = [&](int level) {
    return indent < 0 ? std::string()
                      : "\n" + std::string(static_cast<size_t>(indent * level), ' ');
  };
  std::string out(1, open);
  for (size_t i = 0; i < parts.size(); ++i)
    out += (i == 0 ? "" : indent < 0 ? ", " : ",") + line(depth + 1) + parts[i];
  return out + line(depth) + close;
}

std::string json_text(const Value& value, int indent, int depth) {
  if (const auto* list = value.as<List>()) {
    std::vector<std::string> parts;
    for (const Value& item : **list)
      parts.push_back(json_text(item, indent, depth + 1));
    return joined(parts, '[', ']', indent, depth);
  }
  if (const auto* dict = value.as<Dict>()) {
    std::vector<std::string> parts;
    for (const auto& [key, item] : (*dict)->entries)
      parts.push_back(json_string(key) + ": " + json_text(item, indent, depth + 1));
    return joined(parts, '{', '}', indent, depth);
  }
  if (const auto* text = value.as<std::string>())
    return json_string(*text);
  if (const auto* flag = value.as<bool>())
    return *flag ? "true" : "false";
  if (value.is<int64_t>() || value.is<double>())
    return value.to_text();
  return "null";
}

}  // namespace

Value Value::list(std::vector<Value> items) {
  return std::make_shared<std::vector<Value>>(std::move(items));
}

Value Value::dict(std::vector<std::pair<std::string, Value>> entries) {
  return std::make_shared<DictEntries>(DictEntries{std::move(entries)});
}

Value Value::from_json(const io::Json& json) {
  using Kind = io::Json::value_t;
  switch (json.type()) {
    case Kind::object: {
      std::vector<std::pair<std::string, Value>> entries;
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
      return None{};
  }
}

bool Value::truthy() const {
  if (const auto* flag = as<bool>())
    return *flag;
  if (const auto* integer = as<int64_t>())
    return *integer != 0;
  if (const auto* real = as<double>())
    return *real != 0;
  if (const auto* text = as<std::string>())
    return !text->empty();
  if (const auto* items = as<List>())
    return !(*items)->empty();
  if (const auto* entries = as<Dict>())
    return !(*entries)->entries.empty();
  return is<Namespace>() || is<Function>();
}

std::string Value::to_text() const {
  if (const auto* text = as<std::string>())
    return *text;
  return is<Undefined>() ? std::string() : to_repr();
}

std::string Value::to_repr() const {
  if (const auto* flag = as<bool>())
    return *flag ? "True" : "False";
  if (const auto* integer = as<int64_t>())
    return std::to_string(*integer);
  if (const auto* real = as<double>())
    return float_text(*real);
  if (const auto* text = as<std::string>())
    return quoted(*text);
  if (is<None>())
    return "None";
  std::vector<std::string> parts;
  if (const auto* items = as<List>()) {
    for (const Value& item : **items)
      parts.push_back(item.to_repr());
    return joined(parts, '[', ']', -1, 0);
  }
  if (const auto* entries = as<Dict>()) {
    for (const auto& [key, item] : (*entries)->entries)
      parts.push_back(quoted(key) + ": " + item.to_repr());
    return joined(parts, '{', '}', -1, 0);
  }
  return is<Undefined>() ? "Undefined" : concat("<", kind(), ">");
}

std::string_view Value::kind() const {
  constexpr std::string_view kinds[] = {"undefined",   "none",      "a boolean", "an integer",
                                        "a number",    "a string",  "a list",    "a dict",
                                        "a namespace", "a function"};
  return kinds[storage_.index()];
}

const Value* Value::entry(std::string_view key) const {
  if (const auto* dict = as<Dict>())
    return std::as_const(**dict).find(key);
  if (const auto* space = as<Namespace>())
    return std::as_const(*space->members).find(key);
  return nullptr;
}

bool Value::is_number() const {
  return is<bool>() || is<int64_t>() || is<double>();
}

double Value::number() const {
  if (const auto* flag = as<bool>())
    return *flag;
  if (const auto* integer = as<int64_t>())
    return static_cast<double>(*integer);
  return std::get<double>(storage_);
}

bool operator==(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number())
    return a.number() == b.number();
  if (a.storage_.index() != b.storage_.index())
    return false;
  if (const auto* text = a.as<std::string>())
    return *text == *b.as<std::string>();
  if (const auto* items = a.as<List>())
    return **items == **b.as<List>();
  if (const auto* dict = a.as<Dict>()) {
    const auto& left = (*dict)->entries;
    const auto& right = **b.as<Dict>();
    return left.size() == right.entries.size() && std::ranges::all_of(left, [&](const auto& item) {
             const Value* other = right.find(item.first);
             return other != nullptr && item.second == *other;
           });
  }
  return a.is<None>() || a.is<Undefined>();
}

Value* DictEntries::find(std::string_view key) {
  const auto it = std::ranges::find(
      entries, key, [](const auto& item) -> const std::string& { return item.first; });
  return it == entries.end() ? nullptr : &it->second;
}

const Value* DictEntries::find(std::string_view key) const {
  return const_cast<DictEntries*>(this)->find(key);
}

void DictEntries::set(std::string_view key, Value value) {
  if (Value* existing = find(key))
    *existing = std::move(value);
  else
    entries.emplace_back(std::string(key), std::move(value));
}

std::string to_json_text(const Value& value, int indent) {
  return json_text(value, indent, 0);
}

}  // namespace graft::text::jinja
