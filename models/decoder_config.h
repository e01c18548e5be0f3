// DecoderConfig: everything the numbers of a decoder depend on besides its weights.
//
// Read from config.json, in the spelling of transformers 4 (`rope_theta`, `rope_scaling`) and 5
// (`rope_parameters`), or from the metadata of a GGUF file. An option that would change the numbers
// and is not supported is refused by name, never ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/json.h"
#include "graft/nn/activation.h"
#include "graft/nn/causal_lm.h"
#include "graft/nn/decoder_layer.h"
#include "graft/quant/config.h"

namespace graft::models {

struct Family;

struct DecoderConfig {
  const Family* family = nullptr;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double norm_eps = 0;
  /// Rotary settings; a second one is that of the layers with a window.
  std::vector<nn::RopeConfig> ropes{};
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  nn::Activation activation = nn::Activation::silu;
  /// Factor of the attention scores; unset for 1 / sqrt(head_dim).
  std::optional<double> attention_scale{};
  /// Factor of the embeddings.
  double embedding_scale = 1;
  /// How many tokens back a token sees in the layers that have a window.
  int64_t window = 0;
  /// The layers that have it; empty for none.
  std::vector<bool> windowed{};
  /// The head shares the matrix of the embedding.
  bool tied_head = false;
  /// The model's own dropout by its keys, kept for the files: it is never applied.
  std::vector<std::pair<std::string, double>> dropouts{};
  std::optional<int64_t> bos_token_id{};
  std::optional<int64_t> pad_token_id{};
  std::vector<int64_t> eos_token_ids{};
  /// How linear layers are held; not among the keys of to_config_json.
  quant::Config quant{};

  bool has_window(int64_t layer) const {
    return !windowed.empty() && windowed[static_cast<size_t>(layer)];
  }
  nn::NormConfig norm_config() const;
  nn::DecoderLayerConfig layer_config(int64_t layer) const;
};

/// Inclusive limits of sizes in a configuration: far above any model, low enough that products of
/// two do not overflow and that a damaged file cannot ask for millions of layers.
inline constexpr io::IntegerRange size_limits{1, int64_t{1} << 28};
inline constexpr io::IntegerRange count_limits{1, 4096};
inline constexpr io::IntegerRange token_limits{0, int64_t{1} << 28};

/// Reads config.json. Throws FormatError where a key is missing or of the wrong kind, ConfigError
/// where the model is of another family or needs what graft has not.
DecoderConfig read_decoder_config(const io::JsonObject& json);

/// Token ids that generation_config.json gives in place of those of config.json.
void read_generation_config(const io::JsonObject& json, DecoderConfig& config);

/// The text of a config.json that transformers 4 and 5 load, without the dtype.
std::string to_config_json(const DecoderConfig& config);

/// Throws FormatError unless the sizes fit each other.
void check_sizes(const DecoderConfig& config, const std::string& file);

}  // namespace graft::models
