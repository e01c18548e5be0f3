#include "graft/models/gguf_rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/models/decoder_config.h"
#include "graft/models/rope_config.h"
#include "graft/quant/gguf_blocks.h"

namespace graft::models {
namespace {

using nn::RopeConfig, nn::RopeKind;

constexpr std::string_view llama3_table = "rope_freqs.weight";
constexpr std::string_view long_table = "rope_factors_long.weight";
constexpr std::string_view short_table = "rope_factors_short.weight";

/// The factors in a table: one for each pair of elements.
std::vector<double> read_table(const GgufMetadata& metadata, std::string_view name,
                               const RopeConfig& rope) {
  const io::GgufPlace& place = metadata.model().tensor(name);
  const auto refuse = [&](const auto&... what) {
    throw FormatError(place.file->path(), -1, concat(name, ": ", what...));
  };
  const Shape& shape = place.tensor->shape;
  if (shape != Shape{rope.dim / 2})
    refuse("shape ", shape, ", ", Shape{rope.dim / 2}, " expected: half of rope.dimension_count");
  std::vector<double> factors;
  try {
    const Tensor numbers = quant::decode_blocks(place.tensor->type, place.tensor->bytes, shape);
    for (int64_t i = 0; i < numbers.numel(); ++i)
      factors.push_back(shortest_decimal(numbers.data<float>()[i]));
  } catch (const DTypeError& error) {
    refuse(error.what());
  }
  for (const double factor : factors) {
    if (!(factor > 0) || !std::isfinite(factor))
      refuse("a factor is ", factor, ", a number above 0 expected");
  }
  return factors;
}

double positive_number(const GgufMetadata& metadata, std::string_view name) {
  const double value = metadata.number(name);
  if (!(value > 0) || !std::isfinite(value))
    throw FormatError(metadata.path(), -1,
                      concat(metadata.key(name), " is ", value, ", a number above 0 expected"));
  return value;
}

int64_t original_positions(const GgufMetadata& metadata, int64_t fallback) {
  return metadata.size_or("rope.scaling.original_context_length", fallback);
}

/// By how much positions are scaled; 1 where the file does not say.
double read_factor(const GgufMetadata& metadata) {
  const double old = metadata.number_or("rope.scale_linear", 0);  // its name in the first files
  const double factor = metadata.number_or("rope.scaling.factor", old);
  return factor == 0 ? 1 : factor;
}

void read_yarn(const GgufMetadata& metadata, RopeConfig& rope) {
  rope.kind = RopeKind::yarn;
  rope.factor = positive_number(metadata, "rope.scaling.factor");
  rope.original_positions = original_positions(metadata, rope.max_positions);
  if (metadata.has("rope.scaling.yarn_attn_factor"))
    rope.attention_factor = positive_number(metadata, "rope.scaling.yarn_attn_factor");
  rope.beta_fast = metadata.number_or("rope.scaling.yarn_beta_fast", rope.beta_fast);
  rope.beta_slow = metadata.number_or("rope.scaling.yarn_beta_slow", rope.beta_slow);
  metadata.refuse_unless("rope.scaling.yarn_ext_factor", 1);
}

void read_longrope(const GgufMetadata& metadata, RopeConfig& rope) {
  rope.kind = RopeKind::longrope;
  rope.long_factor = read_table(metadata, long_table, rope);
  rope.short_factor = read_table(metadata, short_table, rope);
  rope.original_positions = original_positions(metadata, rope.max_positions);
  if (!metadata.has("rope.scaling.attn_factor"))
    return;
  // Said only where it is not what the positions give: then a configuration need not say it.
  const double said = positive_number(metadata, "rope.scaling.attn_factor");
  check_rope(rope, metadata.path());
  if (static_cast<float>(nn::Rotary(rope).attention_factor()) != static_cast<float>(said))
    rope.attention_factor = said;
}

/// By what the frequencies of `rope` are smaller than those without scaling.
std::vector<double> factors_of(const RopeConfig& rope) {
  RopeConfig plain = rope;
  plain.kind = RopeKind::standard;
  std::vector<double> factors = nn::Rotary(plain).frequencies(1);
  const std::vector<double> scaled = nn::Rotary(rope).frequencies(1);
  std::ranges::transform(factors, scaled, factors.begin(), std::divides());
  return factors;
}

/// The settings that files of Llama 3.1 and later are made from, where they give these factors.
std::optional<RopeConfig> llama3_settings(RopeConfig rope, const std::vector<double>& factors) {
  // Near the end of the interpolation the f32 roundings of both sides grow to this.
  constexpr double tolerance = 1e-5;
  rope.kind = RopeKind::llama3;
  rope.factor = std::ranges::max(factors);
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  const std::vector<double> expected = factors_of(rope);
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(std::abs(factors[i] - expected[i]) <= tolerance * expected[i]))
      return std::nullopt;
  }
  return rope;
}

void read_llama3(const GgufMetadata& metadata, RopeConfig& rope) {
  constexpr int64_t usual_positions = 8192;
  const std::vector<double> factors = read_table(metadata, llama3_table, rope);
  if (std::ranges::all_of(factors, [](double factor) { return factor == 1; }))
    return;
  RopeConfig candidate = rope;
  candidate.original_positions = original_positions(metadata, usual_positions);
  check_rope(candidate, metadata.path());
  if (const auto settings = llama3_settings(candidate, factors)) {
    rope = *settings;
    return;
  }
  rope.kind = RopeKind::longrope;
  rope.short_factor = rope.long_factor = factors;
  rope.attention_factor = 1;
  rope.original_positions = rope.max_positions;
}

/// Reads what the metadata say of scaling.
void read_scaling(const GgufMetadata& metadata, RopeConfig& rope) {
  const bool has_tables =
      metadata.model().contains(long_table) || metadata.model().contains(short_table);
  const std::string type = metadata.text_or("rope.scaling.type", "linear");
  const double given = read_factor(metadata);
  const double factor = type == "none" ? 1 : given;
  if (type == "longrope" || (has_tables && factor == 1 && (type == "linear" || type == "none"))) {
    read_longrope(metadata, rope);
  } else if (has_tables) {
    throw ConfigError(concat(metadata.path(), ": ", metadata.key("rope.scaling.type"), " is ", type,
                             " and there are tables of factors, which is not supported"));
  } else if (type == "yarn") {
    read_yarn(metadata, rope);
  } else if (type == "linear" && factor != 1) {
    rope.kind = RopeKind::linear;
    rope.factor =
        positive_number(metadata, metadata.has("rope.scaling.factor") ? "rope.scaling.factor"
                                                                      : "rope.scale_linear");
  } else if (type != "linear" && type != "none") {
    throw ConfigError(concat(metadata.path(), ": ", metadata.key("rope.scaling.type"), " is ", type,
                             ", which is not supported; supported: none, linear, yarn, longrope"));
  }
}

Tensor table_of(const std::vector<double>& factors) {
  return Tensor::from(factors, {static_cast<int64_t>(factors.size())}).to(DType::f32);
}

void write_yarn(const RopeConfig& rope, GgufKeys& keys) {
  const RopeConfig usual;
  GRAFT_CHECK(rope.truncate, ConfigError,
              "gguf: yarn with truncate = false cannot be said in a GGUF file");
  keys.text("rope.scaling.type", "yarn");
  keys.number("rope.scaling.factor",
              rope.factor.value_or(static_cast<double>(rope.max_positions) /
                                   static_cast<double>(rope.original_positions)));
  keys.size("rope.scaling.original_context_length", rope.original_positions);
  if (rope.attention_factor || rope.mscale || rope.mscale_all_dim)
    keys.number("rope.scaling.yarn_attn_factor", nn::Rotary(rope).attention_factor());
  if (rope.beta_fast != usual.beta_fast)
    keys.number("rope.scaling.yarn_beta_fast", rope.beta_fast);
  if (rope.beta_slow != usual.beta_slow)
    keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow);
}

bool same_angles(const RopeConfig& a, const RopeConfig& b) {
  // Tables of factors are f32, and the reader takes settings that give them within this.
  constexpr double tolerance = 1e-5;
  const auto near = [](double x, double y) { return std::abs(x - y) <= tolerance * std::abs(y); };
  const nn::Rotary one(a), other(b);
  if (a.dim != b.dim || !near(one.attention_factor(), other.attention_factor()))
    return false;
  return std::ranges::all_of(std::array{int64_t{1}, a.max_positions}, [&](int64_t length) {
    return std::ranges::equal(one.frequencies(length), other.frequencies(length), near);
  });
}

}  // namespace

void write_gguf_rope(const RopeConfig& rope, GgufKeys& keys) {
  keys.size("rope.dimension_count", rope.dim);
  keys.number("rope.freq_base", rope.theta);
  switch (rope.kind) {
    case RopeKind::standard:
      break;
    case RopeKind::dynamic:
      throw ConfigError("gguf: rotary scaling of the kind dynamic cannot be said in a GGUF file");
    case RopeKind::linear:
      keys.text("rope.scaling.type", "linear");
      keys.number("rope.scaling.factor", rope.factor.value());
      break;
    case RopeKind::llama3:
      keys.size("rope.scaling.original_context_length", rope.original_positions);
      break;
    case RopeKind::yarn:
      write_yarn(rope, keys);
      break;
    case RopeKind::longrope:
      keys.text("rope.scaling.type", "longrope");
      keys.size("rope.scaling.original_context_length", rope.original_positions);
      keys.number("rope.scaling.attn_factor", nn::Rotary(rope).attention_factor());
      break;
  }
}

std::vector<std::pair<std::string, Tensor>> gguf_rope_tables(const DecoderConfig& config) {
  if (config.ropes.empty())
    return {};
  const RopeConfig& rope = config.ropes[0];
  if (rope.kind == RopeKind::llama3)
    return {{std::string(llama3_table), table_of(factors_of(rope))}};
  if (rope.kind == RopeKind::longrope)
    return {{std::string(long_table), table_of(rope.long_factor)},
            {std::string(short_table), table_of(rope.short_factor)}};
  return {};
}

bool same_rotation(const std::vector<RopeConfig>& a, const std::vector<RopeConfig>& b) {
  return std::ranges::equal(a, b, same_angles);
}

bool is_gguf_rope_table(std::string_view tensor) {
  return tensor == llama3_table || tensor == long_table || tensor == short_table;
}

RopeConfig read_gguf_rope(const GgufMetadata& metadata, RopeConfig rope) {
  constexpr double usual_theta = 10000;
  rope.dim = metadata.size_or("rope.dimension_count", rope.dim);
  rope.theta = metadata.number_or("rope.freq_base", usual_theta);
  check_rope(rope, metadata.path());
  read_scaling(metadata, rope);
  if (rope.kind != RopeKind::longrope)
    metadata.refuse_unless("rope.scaling.attn_factor", 1);
  if (metadata.model().contains(llama3_table)) {
    GRAFT_CHECK(rope.kind == RopeKind::standard, ConfigError, metadata.path(), ": ", llama3_table,
                " and ", metadata.key("rope.scaling.type"),
                " are both there, which is not "
                "supported");
    read_llama3(metadata, rope);
  }
  original_positions(metadata, rope.max_positions);  // of no effect without scaling
  check_rope(rope, metadata.path());
  return rope;
}

}  // namespace graft::models
