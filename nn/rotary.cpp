#include "graft/nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "graft/tensor/error.h"

namespace graft::nn {
namespace {

bool has_factor(RopeKind kind) {
  return kind != RopeKind::standard;
}

bool has_original_positions(RopeKind kind) {
  return kind == RopeKind::llama3 || kind == RopeKind::yarn || kind == RopeKind::longrope;
}

bool derives_factor(RopeKind kind) {
  return kind == RopeKind::yarn || kind == RopeKind::longrope;
}

void check_factors(const char* name, const std::vector<double>& factors, int64_t dim) {
  GRAFT_CHECK(static_cast<int64_t>(factors.size()) == dim / 2, ConfigError, "rotary: ", name,
              " has ", factors.size(), " numbers, ", dim / 2, " expected");
  for (const double factor : factors)
    GRAFT_CHECK(factor > 0 && std::isfinite(factor), ConfigError, "rotary: ", name, " holds ",
                factor, ", a positive number expected");
}

void check(const RopeConfig& config) {
  const auto positive = [](const char* name, double value) {
    GRAFT_CHECK(value > 0 && std::isfinite(value), ConfigError, "rotary: ", name, " is ", value,
                ", a positive number expected");
  };
  GRAFT_CHECK(config.dim > 0 && config.dim % 2 == 0, ConfigError, "rotary: head_dim is ",
              config.dim, ", an even number expected");
  positive("rope_theta", config.theta);
  if (has_factor(config.kind) && !derives_factor(config.kind))
    GRAFT_CHECK(config.factor, ConfigError, "rotary: factor is missing");
  if (has_factor(config.kind) && config.factor)
    positive("factor", *config.factor);
  if (has_original_positions(config.kind))
    positive("original_max_position_embeddings", static_cast<double>(config.original_positions));
  if (config.kind == RopeKind::dynamic || (has_factor(config.kind) && !config.factor))
    positive("max_position_embeddings", static_cast<double>(config.max_positions));
  if (config.kind == RopeKind::dynamic)
    GRAFT_CHECK(config.dim > 2, ConfigError,
                "rotary: head_dim is 2, more expected where rope_type is dynamic");
  if (config.kind == RopeKind::llama3) {
    positive("low_freq_factor", config.low_freq_factor);
    GRAFT_CHECK(config.high_freq_factor > config.low_freq_factor, ConfigError,
                "rotary: high_freq_factor is ", config.high_freq_factor,
                ", a number above low_freq_factor (", config.low_freq_factor, ") expected");
  }
  if (config.kind == RopeKind::yarn) {
    positive("beta_fast", config.beta_fast);
    positive("beta_slow", config.beta_slow);
    GRAFT_CHECK(config.theta != 1, ConfigError, "rotary: rope_theta is 1, another number expected");
  }
  if (config.kind == RopeKind::longrope) {
    check_factors("short_factor", config.short_factor, config.dim);
    check_factors("long_factor", config.long_factor, config.dim);
  }
}

double factor_of(const RopeConfig& config) {
  return config.factor ? *config.factor
                       : static_cast<double>(config.max_positions) /
                             static_cast<double>(config.original_positions);
}

double attention_factor_of(const RopeConfig& config) {
  if (!derives_factor(config.kind))
    return 1;
  if (config.attention_factor)
    return *config.attention_factor;
  const double factor = factor_of(config);
  if (config.kind == RopeKind::longrope)
    return factor <= 1
               ? 1
               : std::sqrt(1 + std::log(factor) /
                                   std::log(static_cast<double>(config.original_positions)));
  const auto scaled = [&](double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
  };
  const double mscale = config.mscale.value_or(0);
  const double all = config.mscale_all_dim.value_or(0);
  return mscale != 0 && all != 0 ? scaled(mscale) / scaled(all) : scaled(1);
}

/// theta^(2i / dim), the inverse of the standard angles.
std::vector<float> powers(int64_t dim, float theta) {
  std::vector<float> result;
  for (int64_t i = 0; i < dim; i += 2)
    result.push_back(std::pow(theta, static_cast<float>(i) / static_cast<float>(dim)));
  return result;
}

std::vector<float> standard(int64_t dim, float theta) {
  std::vector<float> angles = powers(dim, theta);
  std::ranges::transform(angles, angles.begin(), [](float power) { return 1.0f / power; });
  return angles;
}

/// theta for a text of `length` tokens. Within max_positions it is the one of the configuration.
float dynamic_theta(const RopeConfig& config, int64_t length) {
  if (length <= config.max_positions)
    return static_cast<float>(config.theta);
  const float factor = static_cast<float>(*config.factor);
  const float stretch =
      factor * static_cast<float>(length) / static_cast<float>(config.max_positions) -
      static_cast<float>(*config.factor - 1);
  const double exponent = static_cast<double>(config.dim) / static_cast<double>(config.dim - 2);
  return static_cast<float>(config.theta) * std::pow(stretch, static_cast<float>(exponent));
}

std::vector<float> llama3(const RopeConfig& config) {
  const double original = static_cast<double>(config.original_positions);
  const float longest = static_cast<float>(original / config.low_freq_factor);
  const float shortest = static_cast<float>(original / config.high_freq_factor);
  const float factor = static_cast<float>(*config.factor);
  const float low = static_cast<float>(config.low_freq_factor);
  const float range = static_cast<float>(config.high_freq_factor - config.low_freq_factor);
  std::vector<float> angles = standard(config.dim, static_cast<float>(config.theta));
  for (float& angle : angles) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / angle;
    if (wavelength > longest) {
      angle /= factor;
    } else if (!(wavelength < shortest)) {
      const float smooth = (static_cast<float>(original) / wavelength - low) / range;
      angle = (1 - smooth) * angle / factor + smooth * angle;
    }
  }
  return angles;
}

/// The first and the last dimension of yarn's ramp.
std::pair<double, double> ramp(const RopeConfig& config) {
  const double dim = static_cast<double>(config.dim);
  const auto dimension_of = [&](double rotations) {
    return dim *
           std::log(static_cast<double>(config.original_positions) /
                    (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(config.theta));
  };
  double low = dimension_of(config.beta_fast);
  double high = dimension_of(config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  return {low, low == high ? high + 0.001 : high};  // no division by zero
}

std::vector<float> yarn(const RopeConfig& config) {
  const auto [low, high] = ramp(config);
  const float factor = static_cast<float>(factor_of(config));
  std::vector<float> angles = powers(config.dim, static_cast<float>(config.theta));
  for (size_t i = 0; i < angles.size(); ++i) {
    const float kept = 1.0f / angles[i];
    const float stretched = 1.0f / (factor * angles[i]);
    const float position =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float share = 1 - std::clamp(position, 0.0f, 1.0f);
    angles[i] = stretched * (1 - share) + kept * share;
  }
  return angles;
}

std::vector<float> longrope(const RopeConfig& config, int64_t length) {
  const std::vector<double>& factors =
      length > config.original_positions ? config.long_factor : config.short_factor;
  std::vector<float> angles = powers(config.dim, static_cast<float>(config.theta));
  for (size_t i = 0; i < angles.size(); ++i)
    angles[i] = 1.0f / (static_cast<float>(factors[i]) * angles[i]);
  return angles;
}

std::vector<float> angles_of(const RopeConfig& config, int64_t length) {
  switch (config.kind) {
    case RopeKind::standard:
      break;
    case RopeKind::linear: {
      std::vector<float> angles = standard(config.dim, static_cast<float>(config.theta));
      for (float& angle : angles)
        angle /= static_cast<float>(*config.factor);
      return angles;
    }
    case RopeKind::dynamic:
      return standard(config.dim, dynamic_theta(config, length));
    case RopeKind::llama3:
      return llama3(config);
    case RopeKind::yarn:
      return yarn(config);
    case RopeKind::longrope:
      return longrope(config, length);
  }
  return standard(config.dim, static_cast<float>(config.theta));
}

const RopeConfig& checked(const RopeConfig& config) {
  check(config);
  return config;
}

}  // namespace

Rotary::Rotary(RopeConfig config)
    : config_(std::move(config)), attention_factor_(attention_factor_of(checked(config_))) {}

std::vector<double> Rotary::frequencies(int64_t length) const {
  const std::vector<float> angles = angles_of(config_, length);
  return {angles.begin(), angles.end()};
}

}  // namespace graft::nn
