// A DecoderConfig as the metadata of a GGUF file, family by family.
#include <algorithm>
#include <optional>

#include "graft/models/family.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gguf_rope.h"

namespace graft::models {
namespace {

/// What every model has.
void write_sizes(const DecoderConfig& config, GgufKeys& keys) {
  keys.size("vocab_size", config.vocab_size);
  keys.size("block_count", config.layers);
  keys.size("context_length", config.max_positions);
  keys.size("embedding_length", config.hidden_size);
  keys.size("feed_forward_length", config.intermediate_size);
  keys.size("attention.head_count", config.heads);
  keys.size("attention.head_count_kv", config.kv_heads);
}

/// The same with the norms of Llama and rotary positions.
void write_rotary(const DecoderConfig& config, GgufKeys& keys) {
  write_sizes(config, keys);
  keys.number("attention.layer_norm_rms_epsilon", config.norm_eps);
  if (config.head_dim * config.heads != config.hidden_size) {
    keys.size("attention.key_length", config.head_dim);
    keys.size("attention.value_length", config.head_dim);
  }
  write_gguf_rope(config.ropes.at(0), keys);
}

bool uses_window(const DecoderConfig& config) {
  return config.window < config.max_positions &&
         std::ranges::any_of(config.windowed, [](bool windowed) { return windowed; });
}

/// The n for which all layers but each n-th have a window; nothing where there is none.
std::optional<int64_t> window_pattern(const std::vector<bool>& windowed) {
  const auto layers = static_cast<int64_t>(windowed.size());
  for (int64_t n = 1; n <= layers + 1; ++n) {
    bool fits = true;
    for (int64_t layer = 0; layer < layers && fits; ++layer)
      fits = windowed[static_cast<size_t>(layer)] == ((layer + 1) % n != 0);
    if (fits)
      return n;
  }
  return std::nullopt;
}

}  // namespace

void write_gguf_common(const DecoderConfig& config, GgufKeys& keys) {
  GRAFT_CHECK(!uses_window(config), ConfigError, "gguf: a sliding window of ", config.window,
              " tokens in a model of type ", config.family->model_type,
              " cannot be said in a GGUF file");
  write_rotary(config, keys);
}

void write_gguf_gpt2(const DecoderConfig& config, GgufKeys& keys) {
  write_sizes(config, keys);
  keys.number("attention.layer_norm_epsilon", config.norm_eps);
}

void write_gguf_phi3(const DecoderConfig& config, GgufKeys& keys) {
  write_rotary(config, keys);
  keys.size("attention.sliding_window", uses_window(config) ? config.window : 0);
}

void write_gguf_gemma3(const DecoderConfig& config, GgufKeys& keys) {
  constexpr int64_t usual_pattern = 6;  // readers take it where none is said
  write_rotary(config, keys);
  keys.number("rope.freq_base_swa", config.ropes.at(1).theta);
  keys.size("attention.sliding_window", config.window);
  constexpr std::string_view pattern_key = "attention.sliding_window_pattern";
  const std::optional<int64_t> pattern = window_pattern(config.windowed);
  if (!pattern)
    keys.booleans(pattern_key, config.windowed);
  else if (*pattern != usual_pattern)
    keys.size(pattern_key, *pattern);
}

}  // namespace graft::models
