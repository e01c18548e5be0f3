// GgufMetadata: what a GGUF file says of the model of its architecture.
//
// Keys are asked for without the architecture's name before them. What was asked for is remembered,
// so that a key nobody knows is refused, as an option of config.json would be.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "graft/io/gguf_model.h"

namespace graft::models {

/// The shortest decimal number that is an f32 of a file: 1e-05 where a conversion to double gives
/// 9.999999747378752e-06. Configurations are written with it.
double shortest_decimal(double value);

class GgufMetadata {
 public:
  /// Refers to `model`, which must live longer.
  GgufMetadata(const io::GgufModel& model, std::string_view architecture)
      : model_(model), prefix_(std::string(architecture) + ".") {}

  const io::GgufModel& model() const { return model_; }
  const io::GgufFile& file() const { return model_.metadata(); }
  const std::string& path() const { return model_.path(); }
  /// The key as it stands in the file: "llama.block_count".
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }

  /// All of these throw FormatError where the value is of another kind, and those without a
  /// fallback where it is missing. Sizes and counts are within size_limits and count_limits.
  bool has(std::string_view name) const;
  int64_t size(std::string_view name) const;
  int64_t size_or(std::string_view name, int64_t fallback) const;
  int64_t count(std::string_view name) const;
  int64_t count_or(std::string_view name, int64_t fallback) const;
  /// As shortest_decimal.
  double number(std::string_view name) const;
  double number_or(std::string_view name, double fallback) const;
  std::string text_or(std::string_view name, std::string_view fallback) const;

  /// Throws ConfigError unless the key is missing or the number is `expected`.
  void refuse_unless(std::string_view name, double expected) const;
  /// Throws ConfigError that names a key of the architecture which nobody asked for and which says
  /// something: what graft does not know might change the numbers.
  void refuse_unasked() const;

 private:
  /// The key in the file, from now on asked for.
  std::string asked(std::string_view name) const;

  const io::GgufModel& model_;
  std::string prefix_;
  mutable std::set<std::string, std::less<>> asked_;
};

}  // namespace graft::models
