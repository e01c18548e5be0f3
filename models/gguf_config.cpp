#include "graft/models/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "graft/models/family.h"
#include "graft/models/gguf_rope.h"

namespace graft::models {
namespace {

/// What every model has. A head's size may be left to hidden_size / heads.
void read_sizes(const GgufMetadata& metadata, DecoderConfig& config) {
  config.hidden_size = metadata.size("embedding_length");
  config.intermediate_size = metadata.size("feed_forward_length");
  config.layers = metadata.count("block_count");
  config.heads = metadata.count("attention.head_count");
  config.kv_heads = metadata.count_or("attention.head_count_kv", config.heads);
  config.head_dim = metadata.size_or("attention.key_length",
                                     std::max<int64_t>(1, config.hidden_size / config.heads));
  metadata.refuse_unless("attention.value_length", static_cast<double>(config.head_dim));
  config.max_positions = metadata.size("context_length");
}

nn::RopeConfig plain_rope(const DecoderConfig& config) {
  return {.dim = config.head_dim, .max_positions = config.max_positions};
}

/// The same with the norms of Llama and rotary positions, of the whole of each head.
void read_common(const GgufMetadata& metadata, DecoderConfig& config) {
  read_sizes(metadata, config);
  config.norm_eps = metadata.number("attention.layer_norm_rms_epsilon");
  metadata.refuse_unless("rope.dimension_count", static_cast<double>(config.head_dim));
  config.ropes = {read_gguf_rope(metadata, plain_rope(config))};
}

bool has_bias(const GgufMetadata& metadata, const std::string& projection) {
  return metadata.model().contains("blk.0." + projection + ".bias");
}

void read_attention_biases(const GgufMetadata& metadata, DecoderConfig& config) {
  config.qkv_bias = has_bias(metadata, "attn_q");
  config.o_bias = has_bias(metadata, "attn_output");
}

/// Which layers of Gemma 3 have the window: a list, or all but each n-th.
std::vector<bool> read_windowed(const GgufMetadata& metadata, int64_t layers) {
  constexpr std::string_view name = "attention.sliding_window_pattern";
  constexpr int64_t usual_pattern = 6;
  const std::string key = metadata.key(name);
  std::vector<bool> windowed;
  if (metadata.has(name) && metadata.file().value(key).type == io::GgufType::array) {
    windowed = metadata.file().booleans(key);
    if (static_cast<int64_t>(windowed.size()) != layers)
      throw FormatError(metadata.path(), -1,
                        concat("metadata '", key, "' has ", windowed.size(), " elements for ",
                               layers, " layers"));
    return windowed;
  }
  const int64_t pattern = metadata.count_or(name, usual_pattern);
  for (int64_t layer = 0; layer < layers; ++layer)
    windowed.push_back((layer + 1) % pattern != 0);
  return windowed;
}

std::optional<int64_t> token_id(const io::GgufFile& file, const std::string& key) {
  if (!file.has(key))
    return std::nullopt;
  return file.integer(key, token_limits);
}

void read_token_ids(const io::GgufFile& file, DecoderConfig& config) {
  config.bos_token_id = token_id(file, "tokenizer.ggml.bos_token_id");
  config.pad_token_id = token_id(file, "tokenizer.ggml.padding_token_id");
  if (const auto eos = token_id(file, "tokenizer.ggml.eos_token_id"))
    config.eos_token_ids = {*eos};
}

/// True where the head is the embedding: not there, or there a second time as some files have it.
bool is_head_tied(const io::GgufModel& model) {
  constexpr std::string_view head_name = "output.weight";
  if (!model.contains(head_name))
    return true;
  const io::GgufTensor& head = *model.tensor(head_name).tensor;
  const io::GgufTensor& embedding = *model.tensor("token_embd.weight").tensor;
  return head.type == embedding.type && head.shape == embedding.shape &&
         std::ranges::equal(head.bytes, embedding.bytes);
}

}  // namespace

void read_gguf_llama(const GgufMetadata& metadata, DecoderConfig& config) {
  read_common(metadata, config);
  read_attention_biases(metadata, config);
  config.mlp_bias = has_bias(metadata, "ffn_down");
}

void read_gguf_qwen2(const GgufMetadata& metadata, DecoderConfig& config) {
  read_common(metadata, config);
  config.qkv_bias = true;
}

void read_gguf_qwen3(const GgufMetadata& metadata, DecoderConfig& config) {
  read_common(metadata, config);
  read_attention_biases(metadata, config);
}

void read_gguf_gpt2(const GgufMetadata& metadata, DecoderConfig& config) {
  read_sizes(metadata, config);
  config.norm_eps = metadata.number("attention.layer_norm_epsilon");
  config.activation = nn::Activation::gelu_tanh;
  config.qkv_bias = config.o_bias = config.mlp_bias = true;
}

void read_gguf_phi3(const GgufMetadata& metadata, DecoderConfig& config) {
  read_sizes(metadata, config);
  config.norm_eps = metadata.number("attention.layer_norm_rms_epsilon");
  config.ropes = {read_gguf_rope(metadata, plain_rope(config))};
  const nn::RopeKind kind = config.ropes[0].kind;
  GRAFT_CHECK(kind == nn::RopeKind::standard || kind == nn::RopeKind::longrope, ConfigError,
              metadata.path(),
              ": positions of a phi3 model are scaled other than by tables of "
              "factors, which is not supported");
  constexpr std::string_view window = "attention.sliding_window";
  constexpr io::IntegerRange or_none{0, size_limits.max};
  config.window = metadata.has(window) ? metadata.file().integer(metadata.key(window), or_none) : 0;
  config.windowed.assign(static_cast<size_t>(config.layers), config.window > 0);
}

void read_gguf_gemma3(const GgufMetadata& metadata, DecoderConfig& config) {
  constexpr double usual_local_theta = 10000;
  constexpr int64_t layers_of_27b = 62;  // whose scores are scaled otherwise
  read_common(metadata, config);
  read_attention_biases(metadata, config);
  config.window = metadata.size("attention.sliding_window");
  config.windowed = read_windowed(metadata, config.layers);
  nn::RopeConfig local = plain_rope(config);
  local.theta = metadata.number_or("rope.freq_base_swa", usual_local_theta);
  config.ropes.push_back(local);
  config.activation = nn::Activation::gelu_tanh;
  const int64_t scale_dim =
      config.layers == layers_of_27b ? config.hidden_size / config.heads : config.head_dim;
  config.attention_scale = 1 / std::sqrt(static_cast<double>(scale_dim));
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
}

void read_gguf_olmo2(const GgufMetadata& metadata, DecoderConfig& config) {
  read_common(metadata, config);
  read_attention_biases(metadata, config);
}

DecoderConfig read_gguf_config(const io::GgufModel& model) {
  DecoderConfig config;
  config.family = &family_of_gguf(model.path(), model.metadata().text("general.architecture"));
  const GgufMetadata metadata(model, config.family->gguf_architecture);
  config.family->read_gguf(metadata, config);
  metadata.refuse_unasked();
  const Shape& embedding = model.tensor("token_embd.weight").tensor->shape;
  config.vocab_size = embedding.rank() > 0 ? embedding[0] : 0;
  config.tied_head = is_head_tied(model);
  read_token_ids(model.metadata(), config);
  check_sizes(config, model.path());
  return config;
}

}  // namespace graft::models
