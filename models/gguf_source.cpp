#include "graft/models/gguf_source.h"

#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "graft/models/family.h"
#include "graft/quant/gguf_blocks.h"

namespace graft::models {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

/// Names in GGUF and here, without ".weight" and ".bias".
constexpr std::array<NamePair, 3> outer_names{
    {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}}};
constexpr std::array<NamePair, 9> layer_names{{{"attn_norm", "input_layernorm"},
                                               {"attn_q", "self_attn.q_proj"},
                                               {"attn_k", "self_attn.k_proj"},
                                               {"attn_v", "self_attn.v_proj"},
                                               {"attn_output", "self_attn.o_proj"},
                                               {"ffn_norm", "post_attention_layernorm"},
                                               {"ffn_gate", "mlp.gate_proj"},
                                               {"ffn_up", "mlp.up_proj"},
                                               {"ffn_down", "mlp.down_proj"}}};

/// "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; other names as they are.
std::string hugging_face_name(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos)
    return name;
  const std::string stem = name.substr(0, dot);
  const std::string ending = name.substr(dot);
  for (const auto& [from, to] : outer_names) {
    if (stem == from)
      return std::string(to) + ending;
  }
  const size_t number_end = stem.find('.', 4);
  if (!stem.starts_with("blk.") || number_end == std::string::npos)
    return name;
  for (const auto& [from, to] : layer_names) {
    if (stem.substr(number_end + 1) == from)
      return "model.layers." + stem.substr(4, number_end - 4) + "." + std::string(to) + ending;
  }
  return name;
}

/// The shortest decimal number that is the f32 in the file: 1e-05 where a conversion to double
/// gives 9.999999747378752e-06.
double shortest(double value) {
  std::array<char, 32> text{};
  const auto [end, error] =
      std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(value));
  double result = value;
  if (error == std::errc())
    std::from_chars(text.data(), end, result);
  return result;
}

/// Metadata of one architecture: keys are "llama." and what is asked for.
class Metadata {
 public:
  Metadata(const io::GgufFile& file, std::string_view prefix) : file_(file), prefix_(prefix) {}

  std::string key(std::string_view name) const { return prefix_ + "." + std::string(name); }
  bool has(std::string_view name) const { return file_.has(key(name)); }
  int64_t size(std::string_view name) const { return file_.integer(key(name), size_limits); }
  int64_t count(std::string_view name) const { return file_.integer(key(name), count_limits); }
  int64_t size_or(std::string_view name, int64_t fallback) const {
    return file_.integer_or(key(name), fallback, size_limits);
  }
  double number_or(std::string_view name, double fallback) const {
    return shortest(file_.number_or(key(name), fallback));
  }
  /// Throws ConfigError unless the key is missing or the number is `expected`.
  void refuse_unless(std::string_view name, double expected) const {
    const double value = number_or(name, expected);
    GRAFT_CHECK(value == expected, ConfigError, file_.path(), ": ", key(name), " is ", value,
                ", which is not supported");
  }

 private:
  const io::GgufFile& file_;
  std::string prefix_;
};

void refuse_unsupported(const io::GgufFile& file, const Metadata& metadata, int64_t head_dim) {
  metadata.refuse_unless("expert_count", 0);
  metadata.refuse_unless("attention.sliding_window", 0);
  metadata.refuse_unless("rope.scale_linear", 1);
  metadata.refuse_unless("rope.dimension_count", static_cast<double>(head_dim));
  metadata.refuse_unless("attention.value_length", static_cast<double>(head_dim));
  const std::string scaling = file.text_or(metadata.key("rope.scaling.type"), "none");
  GRAFT_CHECK(scaling == "none", ConfigError, file.path(), ": ", metadata.key("rope.scaling.type"),
              " is ", scaling, ", which is not supported");
  GRAFT_CHECK(!file.contains("rope_freqs.weight"), ConfigError, file.path(),
              ": rope_freqs.weight scales the rotary positions, which is not supported");
  GRAFT_CHECK(file.integer_or("split.count", 1) <= 1, ConfigError, file.path(),
              ": one of several parts of a model; join them with llama-gguf-split --merge");
}

std::optional<int64_t> token_id(const io::GgufFile& file, const std::string& key) {
  if (!file.has(key))
    return std::nullopt;
  return file.integer(key, token_limits);
}

/// Undoes the interleaving of each head's rows: the file has row i of the first half and row i of
/// the second next to each other. x (heads · D, …) f32.
Tensor deinterleaved(const Tensor& x, int64_t heads) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  const int64_t head_dim = x.dim(0) / heads;
  const int64_t width = x.dim(0) == 0 ? 0 : x.numel() / x.dim(0);
  const float* from = x.data<float>();
  float* to = result.data<float>();
  for (int64_t row = 0; row < x.dim(0); ++row) {
    const int64_t head = row / head_dim;
    const int64_t half = row % head_dim / (head_dim / 2);
    const int64_t i = row % (head_dim / 2);
    const int64_t source = head * head_dim + 2 * i + half;
    std::memcpy(to + row * width, from + source * width,
                static_cast<size_t>(width) * sizeof(float));
  }
  return result;
}

}  // namespace

DecoderConfig read_gguf_config(const io::GgufFile& file) {
  DecoderConfig config;
  config.family = &family_of_gguf(file.path(), file.text("general.architecture"));
  const Metadata metadata(file, config.family->gguf_architecture);
  config.hidden_size = metadata.size("embedding_length");
  config.intermediate_size = metadata.size("feed_forward_length");
  config.layers = metadata.count("block_count");
  config.heads = metadata.count("attention.head_count");
  config.kv_heads = metadata.has("attention.head_count_kv")
                        ? metadata.count("attention.head_count_kv")
                        : config.heads;
  config.head_dim = metadata.size_or("attention.key_length",
                                     std::max<int64_t>(1, config.hidden_size / config.heads));
  refuse_unsupported(file, metadata, config.head_dim);
  config.max_positions = metadata.size("context_length");
  config.norm_eps = shortest(file.number(metadata.key("attention.layer_norm_rms_epsilon")));
  config.ropes = {{.dim = config.head_dim,
                   .theta = metadata.number_or("rope.freq_base", 10000),
                   .max_positions = config.max_positions}};
  const io::GgufTensor& embedding = file.tensor("token_embd.weight");
  config.vocab_size = embedding.shape.rank() > 0 ? embedding.shape[0] : 0;
  config.tied_head = !file.contains("output.weight");
  config.qkv_bias = file.contains("blk.0.attn_q.bias");
  config.o_bias = file.contains("blk.0.attn_output.bias");
  config.mlp_bias = file.contains("blk.0.ffn_down.bias");
  config.bos_token_id = token_id(file, "tokenizer.ggml.bos_token_id");
  config.pad_token_id = token_id(file, "tokenizer.ggml.padding_token_id");
  if (const auto eos = token_id(file, "tokenizer.ggml.eos_token_id"))
    config.eos_token_ids = {*eos};
  check_sizes(config, file.path());
  return config;
}

GgufSource::GgufSource(std::shared_ptr<const io::GgufFile> file, const DecoderConfig& config)
    : file_(std::move(file)),
      q_heads_(config.family->gguf_interleaves_rotary ? config.heads : 0),
      k_heads_(config.family->gguf_interleaves_rotary ? config.kv_heads : 0) {
  for (const io::GgufTensor& tensor : file_->tensors())
    tensors_.emplace(hugging_face_name(tensor.name), &tensor);
}

std::vector<std::string> GgufSource::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_)
    names.push_back(name);
  return names;
}

bool GgufSource::contains(std::string_view name) const {
  return tensors_.find(name) != tensors_.end();
}

const io::GgufTensor& GgufSource::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end())
    throw FormatError(file_->path(), -1,
                      concat("there is no tensor '", name, "'", did_you_mean(name, names())));
  return *it->second;
}

io::TensorInfo GgufSource::info(std::string_view name) const {
  const io::GgufTensor& tensor = find(name);
  try {
    quant::block_traits(tensor.type);
  } catch (const DTypeError& error) {
    throw FormatError(file_->path(), -1, concat(tensor.name, ": ", error.what()));
  }
  return {DType::f32, tensor.shape};
}

int64_t GgufSource::interleaved_heads(std::string_view name) const {
  if (name.find(".self_attn.q_proj.") != std::string_view::npos)
    return q_heads_;
  return name.find(".self_attn.k_proj.") != std::string_view::npos ? k_heads_ : 0;
}

Tensor GgufSource::load(std::string_view name) const {
  const io::TensorInfo about = info(name);
  const io::GgufTensor& tensor = find(name);
  Tensor numbers = quant::decode_blocks(tensor.type, tensor.bytes, about.shape);
  const int64_t heads = interleaved_heads(name);
  if (heads == 0)
    return numbers;
  if (about.shape.rank() == 0 || about.shape[0] % (2 * heads) != 0)
    throw FormatError(file_->path(), -1,
                      concat(tensor.name, ": shape ", about.shape, ", rows of ", heads,
                             " heads of even size expected"));
  return deinterleaved(numbers, heads);
}

void GgufSource::drop_pages(std::string_view name) const {
  file_->file()->drop_pages(find(name).bytes);
}

std::string GgufSource::file_of(std::string_view name) const {
  find(name);
  return file_->path();
}

}  // namespace graft::models
