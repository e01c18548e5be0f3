#include <nlohmann/json.hpp>
#include <utility>

#include "graft/io/json.h"

namespace graft::io {
namespace {

JsonKind kind_of(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return JsonKind::null;
    case Json::value_t::boolean:
      return JsonKind::boolean;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return JsonKind::integer;
    case Json::value_t::number_float:
      return JsonKind::number;
    case Json::value_t::string:
      return JsonKind::text;
    case Json::value_t::array:
      return JsonKind::array;
    case Json::value_t::object:
      return JsonKind::object;
    default:  // binary and discarded values do not come out of a text
      return JsonKind::absent;
  }
}

std::string shown(const Json& json) {
  constexpr size_t longest = 60;
  if (json.is_array())
    return concat("a list of ", json.size());
  if (json.is_object())
    return "an object";
  const std::string text = to_text(json, -1);
  return text.size() <= longest ? text : text.substr(0, longest) + "…";
}

/// True where `json` is a whole number within `range`, which is then in `result`.
bool read_integer(const Json& json, IntegerRange range, int64_t& result) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<uint64_t>();
    if (std::cmp_greater(value, std::numeric_limits<int64_t>::max()))
      return false;
    result = static_cast<int64_t>(value);
  } else if (json.is_number_integer()) {
    result = json.get<int64_t>();
  } else {
    return false;
  }
  return range.min <= result && result <= range.max;
}

std::string element(std::string_view key, size_t index) {
  return concat(key, "[", index, "]");
}

FormatError wrong_value(const std::string& file, const std::string& path, const Json* json,
                        std::string_view expected) {
  return FormatError(
      file, -1,
      concat(path, " is ", json == nullptr ? "missing" : shown(*json), ", expected ", expected));
}

}  // namespace

JsonObject::JsonObject(const Json& json, std::string_view file, std::string_view path)
    : json_(&json), file_(file), path_(path) {
  if (!json.is_object())
    throw wrong_value(file_, path_.empty() ? "the file" : path_, &json, "an object");
}

JsonKind JsonObject::kind(std::string_view key) const {
  const Json* json = find(key);
  return json == nullptr ? JsonKind::absent : kind_of(*json);
}

bool JsonObject::has(std::string_view key) const {
  return find_set(key) != nullptr;
}

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> result;
  for (const auto& member : json_->items())
    result.push_back(member.key());
  return result;
}

std::vector<std::string> JsonObject::unasked() const {
  std::vector<std::string> result = keys();
  std::erase_if(result, [&](const std::string& key) { return asked_.contains(key); });
  return result;
}

int64_t JsonObject::integer(std::string_view key, IntegerRange range) const {
  const Json* json = find(key);
  int64_t result = 0;
  if (json == nullptr || !read_integer(*json, range, result))
    throw wrong(key, describe(range));
  return result;
}

int64_t JsonObject::integer_or(std::string_view key, int64_t fallback, IntegerRange range) const {
  return has(key) ? integer(key, range) : fallback;
}

double JsonObject::number(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr || !json->is_number())
    throw wrong(key, "a number");
  return json->get<double>();
}

double JsonObject::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool JsonObject::boolean(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr || !json->is_boolean())
    throw wrong(key, "true or false");
  return json->get<bool>();
}

bool JsonObject::boolean_or(std::string_view key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::string JsonObject::text(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr || !json->is_string())
    throw wrong(key, "a text");
  return json->get<std::string>();
}

std::string JsonObject::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

JsonObject JsonObject::object(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr)
    throw wrong(key, "an object");
  return JsonObject(*json, file_, path_of(key));
}

std::vector<JsonObject> JsonObject::objects(std::string_view key) const {
  std::vector<JsonObject> result;
  for (const Json& json : array(key))
    result.emplace_back(json, file_, path_of(element(key, result.size())));
  return result;
}

std::vector<int64_t> JsonObject::integers(std::string_view key, IntegerRange range) const {
  std::vector<int64_t> result;
  for (const Json& json : array(key)) {
    int64_t value = 0;
    if (!read_integer(json, range, value))
      throw wrong_value(file_, path_of(element(key, result.size())), &json, describe(range));
    result.push_back(value);
  }
  return result;
}

std::vector<double> JsonObject::numbers(std::string_view key) const {
  std::vector<double> result;
  for (const Json& json : array(key)) {
    if (!json.is_number())
      throw wrong_value(file_, path_of(element(key, result.size())), &json, "a number");
    result.push_back(json.get<double>());
  }
  return result;
}

std::vector<std::string> JsonObject::texts(std::string_view key) const {
  std::vector<std::string> result;
  for (const Json& json : array(key)) {
    if (!json.is_string())
      throw wrong_value(file_, path_of(element(key, result.size())), &json, "a text");
    result.push_back(json.get<std::string>());
  }
  return result;
}

const Json& JsonObject::value(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr)
    throw wrong(key, "a value");
  return *json;
}

std::string JsonObject::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : concat(path_, ".", key);
}

FormatError JsonObject::wrong(std::string_view key, std::string_view expected) const {
  return wrong_value(file_, path_of(key), find(key), expected);
}

const Json* JsonObject::find(std::string_view key) const {
  asked_.emplace(key);
  const auto member = json_->find(key);
  return member == json_->end() ? nullptr : &*member;
}

const Json* JsonObject::find_set(std::string_view key) const {
  const Json* json = find(key);
  return json == nullptr || json->is_null() ? nullptr : json;
}

const Json& JsonObject::array(std::string_view key) const {
  const Json* json = find(key);
  if (json == nullptr || !json->is_array())
    throw wrong(key, "a list");
  return *json;
}

}  // namespace graft::io
