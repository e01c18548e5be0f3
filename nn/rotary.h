// Rotary: the angles of a rotary position embedding, in every kind transformers has.
//
// The one place where inverse frequencies are computed. All of it is f32 arithmetic in the order of
// transformers' modeling_rope_utils: at position 2000 the rounding of a frequency is an angle of
// 1e-4, and the models were trained with those roundings.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace graft::nn {

enum class RopeKind {
  standard,  ///< theta^(-2i / dim)
  linear,    ///< all angles divided by `factor`
  dynamic,   ///< theta grows with the text beyond `max_positions`
  llama3,    ///< slow angles divided by `factor`, fast ones kept, those between interpolated
  yarn,      ///< the same with a ramp over the dimensions, and sine and cosine scaled
  longrope,  ///< each angle divided by a number of its own, one set for short and one for long
             ///< texts
};

/// Settings of a rotary embedding, named as in config.json.
struct RopeConfig {
  RopeKind kind = RopeKind::standard;
  int64_t dim = 0;  ///< elements of a head that are rotated: the first ones, an even number
  double theta = 10000;
  int64_t max_positions = 0;
  /// Linear, dynamic, llama3; yarn and longrope take max_positions / original_positions where it is
  /// missing.
  std::optional<double> factor{};
  int64_t original_positions = 0;            ///< llama3, yarn, longrope
  std::optional<double> attention_factor{};  ///< yarn, longrope; computed where it is missing
  double low_freq_factor = 1;                ///< llama3
  double high_freq_factor = 4;               ///< llama3
  double beta_fast = 32;                     ///< yarn
  double beta_slow = 1;                      ///< yarn
  std::optional<double> mscale{};            ///< yarn
  std::optional<double> mscale_all_dim{};    ///< yarn
  bool truncate = true;                      ///< yarn: the ramp begins and ends at whole dimensions
  std::vector<double> short_factor{};        ///< longrope, dim / 2 numbers
  std::vector<double> long_factor{};         ///< longrope, dim / 2 numbers

  bool operator==(const RopeConfig&) const = default;
};

class Rotary {
 public:
  /// Throws ConfigError where a number is out of range or a list has the wrong length.
  explicit Rotary(RopeConfig config);

  /// Angle per position of each of the dim / 2 pairs of elements, in a text of `length` tokens.
  std::vector<double> frequencies(int64_t length) const;
  /// Factor of sine and cosine.
  double attention_factor() const { return attention_factor_; }
  /// True where texts of some two lengths have different frequencies.
  bool depends_on_length() const {
    return config_.kind == RopeKind::dynamic || config_.kind == RopeKind::longrope;
  }
  const RopeConfig& config() const { return config_; }

 private:
  RopeConfig config_;
  double attention_factor_;
};

}  // namespace graft::nn
