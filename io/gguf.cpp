#include "graft/io/gguf.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "graft/io/gguf_types.h"
#include "graft/io/system.h"
#include "graft/io/tensor_file.h"

namespace graft::io {
namespace {

using Bytes = std::span<const std::byte>;

/// The file from a value's first byte on.
Bytes bytes_of(const GgufValue& value, const MappedFile& file) {
  return file.bytes().subspan(value.offset);
}

/// The value that `data` begins with, which is of the C++ type T.
template <class T>
T load(Bytes data) {
  T value;
  std::memcpy(&value, data.first<sizeof(T)>().data(), sizeof(T));
  return value;
}

/// The integer of any width that `data` begins with; nothing where it is no integer or does not
/// fit.
std::optional<int64_t> load_integer(GgufType type, Bytes data) {
  switch (type) {
    case GgufType::u8:
      return load<uint8_t>(data);
    case GgufType::i8:
      return load<int8_t>(data);
    case GgufType::u16:
      return load<uint16_t>(data);
    case GgufType::i16:
      return load<int16_t>(data);
    case GgufType::u32:
      return load<uint32_t>(data);
    case GgufType::i32:
      return load<int32_t>(data);
    case GgufType::i64:
      return load<int64_t>(data);
    case GgufType::u64:
      if (const auto value = load<uint64_t>(data);
          std::cmp_less_equal(value, std::numeric_limits<int64_t>::max()))
        return static_cast<int64_t>(value);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

/// The number of any kind that `data` begins with; nothing where it is none.
std::optional<double> load_number(GgufType type, Bytes data) {
  if (type == GgufType::f32)
    return load<float>(data);
  if (type == GgufType::f64)
    return load<double>(data);
  if (type == GgufType::u64)
    return static_cast<double>(load<uint64_t>(data));
  const std::optional<int64_t> integer = load_integer(type, data);
  return integer ? std::optional(static_cast<double>(*integer)) : std::nullopt;
}

bool within(const std::optional<int64_t>& value, IntegerRange range) {
  return value && range.min <= *value && *value <= range.max;
}

/// The text that `data` begins with, and `data` moved behind it. Lengths were checked when the file
/// was opened.
std::string_view take_text(Bytes& data) {
  const auto length = load<uint64_t>(data);
  const Bytes text = data.subspan(sizeof(length), length);
  data = data.subspan(sizeof(length)).subspan(length);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::string in_words(const GgufValue& value, Bytes data) {
  const bool is_text = value.element == GgufType::text;
  const bool is_boolean = value.element == GgufType::boolean;
  if (value.type == GgufType::array)
    return concat("an array of ", value.count, " ",
                  is_text ? "texts" : (is_boolean ? "truth values" : "numbers"));
  if (is_text || is_boolean)
    return is_text ? "a text" : "a truth value";
  if (const auto integer = load_integer(value.type, data))
    return concat(*integer);
  return concat(load_number(value.type, data).value_or(0));
}

}  // namespace

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

FormatError GgufFile::wrong(std::string_view key, std::string_view expected) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    return FormatError(
        path(), -1,
        concat("metadata '", key, "' is missing, expected ", expected, suggestion(key, keys_)));
  return FormatError(path(), static_cast<int64_t>(value->offset),
                     concat("metadata '", key, "' is ", described(key), ", expected ", expected));
}

const GgufValue& GgufFile::value(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    throw wrong(key, "a value");
  return *value;
}

std::string GgufFile::described(std::string_view key) const {
  const GgufValue& described = value(key);
  return in_words(described, bytes_of(described, *file_));
}

const GgufValue& GgufFile::scalar(std::string_view key, std::string_view expected) const {
  const GgufValue* value = find(key);
  if (value == nullptr || value->type == GgufType::array)
    throw wrong(key, expected);
  return *value;
}

const GgufValue& GgufFile::array(std::string_view key, std::string_view expected) const {
  const GgufValue* value = find(key);
  if (value == nullptr || value->type != GgufType::array)
    throw wrong(key, expected);
  return *value;
}

int64_t GgufFile::integer(std::string_view key, IntegerRange range) const {
  const GgufValue& value = scalar(key, describe(range));
  const auto integer = load_integer(value.type, bytes_of(value, *file_));
  if (!within(integer, range))
    throw wrong(key, describe(range));
  return *integer;
}

int64_t GgufFile::integer_or(std::string_view key, int64_t fallback, IntegerRange range) const {
  return has(key) ? integer(key, range) : fallback;
}

std::vector<int64_t> GgufFile::integers(std::string_view key, IntegerRange range) const {
  const std::string expected = concat("an array, each element ", describe(range));
  const GgufValue& value = array(key, expected);
  Bytes data = bytes_of(value, *file_);
  std::vector<int64_t> result;
  result.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto integer = load_integer(value.element, data);
    if (!within(integer, range))
      throw wrong(key, expected);
    result.push_back(*integer);
    data = data.subspan(gguf_type_size(value.element));
  }
  return result;
}

double GgufFile::number(std::string_view key) const {
  const GgufValue& value = scalar(key, "a number");
  const auto number = load_number(value.type, bytes_of(value, *file_));
  if (!number)
    throw wrong(key, "a number");
  return *number;
}

double GgufFile::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

std::vector<double> GgufFile::numbers(std::string_view key) const {
  const GgufValue& value = array(key, "an array of numbers");
  Bytes data = bytes_of(value, *file_);
  std::vector<double> result;
  result.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto number = load_number(value.element, data);
    if (!number)
      throw wrong(key, "an array of numbers");
    result.push_back(*number);
    data = data.subspan(gguf_type_size(value.element));
  }
  return result;
}

bool GgufFile::boolean(std::string_view key) const {
  const GgufValue& value = scalar(key, "true or false");
  if (value.type != GgufType::boolean)
    throw wrong(key, "true or false");
  return load<uint8_t>(bytes_of(value, *file_)) != 0;
}

bool GgufFile::boolean_or(std::string_view key, bool fallback) const {
  return has(key) ? boolean(key) : fallback;
}

std::vector<bool> GgufFile::booleans(std::string_view key) const {
  const GgufValue& value = array(key, "an array of truth values");
  if (value.element != GgufType::boolean)
    throw wrong(key, "an array of truth values");
  std::vector<bool> result;
  for (const std::byte byte : file_->bytes().subspan(value.offset, value.count))
    result.push_back(byte != std::byte{0});
  return result;
}

std::string GgufFile::text(std::string_view key) const {
  const GgufValue& value = scalar(key, "a text");
  if (value.type != GgufType::text)
    throw wrong(key, "a text");
  Bytes data = bytes_of(value, *file_);
  return std::string(take_text(data));
}

std::string GgufFile::text_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : std::string(fallback);
}

std::vector<std::string_view> GgufFile::text_views(std::string_view key) const {
  const GgufValue& value = array(key, "an array of texts");
  if (value.element != GgufType::text)
    throw wrong(key, "an array of texts");
  std::vector<std::string_view> result;
  result.reserve(value.count);
  Bytes data = bytes_of(value, *file_);
  for (uint64_t i = 0; i < value.count; ++i)
    result.push_back(take_text(data));
  return result;
}

std::vector<std::string> GgufFile::texts(std::string_view key) const {
  const std::vector<std::string_view> views = text_views(key);
  return {views.begin(), views.end()};
}

bool GgufFile::contains(std::string_view name) const {
  return tensor_index_.contains(name);
}

const GgufTensor& GgufFile::tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  if (found != tensor_index_.end())
    return tensors_[found->second];
  std::vector<std::string> names;
  for (const GgufTensor& tensor : tensors_)
    names.push_back(tensor.name);
  throw no_such_tensor(path(), name, names);
}

GgmlBlock ggml_block(uint32_t type) {
  // By ggml's numbers; 4, 5, 31 to 33 and 36 to 38 are types it no longer has.
  constexpr GgmlBlock blocks[] = {
      {1, 4},     {1, 2},     {32, 18},   {32, 20},  {},         {},         {32, 22},
      {32, 24},   {32, 34},   {32, 36},   {256, 84}, {256, 110}, {256, 144}, {256, 176},
      {256, 210}, {256, 292}, {256, 66},  {256, 74}, {256, 98},  {256, 50},  {32, 18},
      {256, 110}, {256, 82},  {256, 136}, {1, 1},    {1, 2},     {1, 4},     {1, 8},
      {1, 8},     {256, 56},  {1, 2},     {},        {},         {},         {256, 54},
      {256, 66},  {},         {},         {},        {32, 17},   {64, 36},   {128, 18}};
  return type < std::size(blocks) ? blocks[type] : GgmlBlock{};
}

}  // namespace graft::io
