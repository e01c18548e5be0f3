#include "graft/models/gguf_metadata.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>

#include "graft/models/decoder_config.h"
#include "graft/tensor/error.h"

namespace graft::models {
namespace {

/// Keys that change no number, whatever they say.
constexpr std::array<std::string_view, 4> without_effect{
    "vocab_size", "tensor_data_layout", "rope.scaling.finetuned", "expert_used_count"};

/// True where a value says nothing: 0, false, an empty text or list.
bool is_off(const io::GgufFile& file, const std::string& key) {
  const io::GgufValue& value = file.value(key);
  if (value.count == 0)
    return true;
  if (value.type == io::GgufType::array)
    return false;
  if (value.type == io::GgufType::boolean)
    return !file.boolean(key);
  if (value.type == io::GgufType::text)
    return file.text(key).empty();
  return file.number(key) == 0;
}

}  // namespace

double shortest_decimal(double value) {
  std::array<char, 32> text{};
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(value));
  double result = value;
  if (error == std::errc())
    std::from_chars(text.data(), end, result);
  return result;
}

std::string GgufMetadata::asked(std::string_view name) const {
  asked_.emplace(name);
  return key(name);
}

bool GgufMetadata::has(std::string_view name) const {
  return file().has(asked(name));
}

int64_t GgufMetadata::size(std::string_view name) const {
  return file().integer(asked(name), size_limits);
}

int64_t GgufMetadata::size_or(std::string_view name, int64_t fallback) const {
  return file().integer_or(asked(name), fallback, size_limits);
}

int64_t GgufMetadata::count(std::string_view name) const {
  return file().integer(asked(name), count_limits);
}

int64_t GgufMetadata::count_or(std::string_view name, int64_t fallback) const {
  return file().integer_or(asked(name), fallback, count_limits);
}

double GgufMetadata::number(std::string_view name) const {
  return shortest_decimal(file().number(asked(name)));
}

double GgufMetadata::number_or(std::string_view name, double fallback) const {
  return has(name) ? number(name) : fallback;
}

std::string GgufMetadata::text_or(std::string_view name, std::string_view fallback) const {
  return file().text_or(asked(name), fallback);
}

void GgufMetadata::refuse_unless(std::string_view name, double expected) const {
  const double value = number_or(name, expected);
  GRAFT_CHECK(value == expected, ConfigError, path(), ": ", key(name), " is ", value,
              ", which is not supported");
}

void GgufMetadata::refuse_unasked() const {
  for (const std::string& key : file().keys()) {
    if (!key.starts_with(prefix_))
      continue;
    const std::string name = key.substr(prefix_.size());
    if (asked_.contains(name) || std::ranges::find(without_effect, name) != without_effect.end() ||
        is_off(file(), key))
      continue;
    throw ConfigError(
        concat(path(), ": ", key, " is ", file().described(key), ", which is not supported"));
  }
}

}  // namespace graft::models
