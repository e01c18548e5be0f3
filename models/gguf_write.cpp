#include "graft/models/gguf_write.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "graft/io/gguf_model.h"
#include "graft/models/family.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gguf_keys.h"
#include "graft/models/gguf_rope.h"
#include "graft/models/gguf_rows.h"
#include "graft/models/model_info.h"
#include "graft/quant/gguf_encode.h"
#include "graft/tensor/pointwise.h"

namespace graft::models {
namespace {

using quant::GgmlType;

/// ggml's number of a whole file's type.
uint32_t file_type_of(GgmlType matrices) {
  switch (matrices) {
    case GgmlType::f32:
      return 0;
    case GgmlType::f16:
      return 1;
    case GgmlType::q4_0:
      return 2;
    case GgmlType::q8_0:
      return 7;
    case GgmlType::bf16:
      return 32;
    default:
      throw DTypeError(concat("gguf: matrices as ",
                              quant::ggml_type_name(static_cast<uint32_t>(matrices)),
                              " asked for, F32, F16, BF16, Q8_0 or Q4_0 expected"));
  }
}

bool is_quantised(GgmlType type) {
  return type == GgmlType::q8_0 || type == GgmlType::q4_0;
}

GgmlType type_of(const std::string& name, const Shape& shape, GgmlType matrices) {
  if (shape.rank() == 1 || name.ends_with("_norm.weight") || name == "position_embd.weight")
    return GgmlType::f32;
  const int64_t block = quant::block_traits(static_cast<uint32_t>(matrices)).elements;
  if (shape[-1] % block != 0)
    return GgmlType::f16;
  const bool is_end = name == "token_embd.weight" || name == "output.weight";
  return matrices == GgmlType::q4_0 && is_end ? GgmlType::q8_0 : matrices;
}

io::GgufTensorOut tensor_out(std::string name, const Shape& shape, GgmlType type,
                             std::function<Tensor()> value) {
  auto write = [name, type, value = std::move(value)](io::FileWriter& out) {
    try {
      out.write(quant::encode_blocks(type, value()).bytes());
    } catch (const NonFiniteError& error) {
      throw NonFiniteError(concat(name, ": ", error.what()));
    }
  };
  return {std::move(name), static_cast<uint32_t>(type), shape, std::move(write)};
}

/// The numbers of a parameter as the file has them.
Tensor stored(const nn::NamedMember& parameter, const GgufHeads& heads, double norm_offset) {
  const Tensor value = parameter.member->value().to(DType::f32);
  if (const int64_t count = heads.interleaved_in(parameter.path); count > 0)
    return interleaved(value, count);
  if (norm_offset != 0 && parameter.path.ends_with("norm.weight"))
    return ops::add(value, Tensor::full(value.shape(), norm_offset));
  return value;
}

/// What the file and the configuration disagree on; nothing where they agree.
std::optional<std::string> difference(const DecoderConfig& a, const DecoderConfig& b) {
  const std::pair<const char*, bool> equal[] = {
      {"vocab_size", a.vocab_size == b.vocab_size},
      {"hidden_size", a.hidden_size == b.hidden_size},
      {"intermediate_size", a.intermediate_size == b.intermediate_size},
      {"num_hidden_layers", a.layers == b.layers},
      {"num_attention_heads", a.heads == b.heads},
      {"num_key_value_heads", a.kv_heads == b.kv_heads},
      {"head_dim", a.head_dim == b.head_dim},
      {"max_position_embeddings", a.max_positions == b.max_positions},
      {"the epsilon of the norms",
       static_cast<float>(a.norm_eps) == static_cast<float>(b.norm_eps)},
      {"the biases of q, k and v", a.qkv_bias == b.qkv_bias},
      {"the bias of the attention's output", a.o_bias == b.o_bias},
      {"mlp_bias", a.mlp_bias == b.mlp_bias},
      {"the activation", a.activation == b.activation},
      {"the scale of the attention scores", a.attention_scale == b.attention_scale},
      {"the scale of the embeddings", a.embedding_scale == b.embedding_scale},
      {"the rotary positions", same_rotation(a.ropes, b.ropes)}};
  for (const auto& [name, is_equal] : equal)
    if (!is_equal)
      return name;
  for (int64_t layer = 0; layer < a.layers; ++layer) {
    const auto reach = [&](const DecoderConfig& config) {
      return config.has_window(layer) ? std::min(config.window, config.max_positions)
                                      : config.max_positions;
    };
    if (reach(a) != reach(b))
      return concat("the sliding window of layer ", layer);
  }
  return std::nullopt;
}

}  // namespace

void add_gguf_metadata(io::GgufValues& values, const nn::ModelInfo& info, GgmlType matrices) {
  const DecoderConfig config = config_of(info);
  const Family& family = *config.family;
  GRAFT_CHECK(!family.gguf_architecture.empty(), ConfigError, "gguf: a model of type ",
              family.model_type, " has no architecture in GGUF files");
  std::filesystem::path source(info.name_or_path);
  if (source.extension() == ".gguf")
    source.replace_extension();
  const uint32_t file_type = file_type_of(matrices);
  values.add_text("general.architecture", family.gguf_architecture);
  values.add_text("general.type", "model");
  values.add_text("general.name", source.filename().string());
  values.add_u32("general.file_type", file_type);
  if (is_quantised(matrices))
    values.add_u32("general.quantization_version", 2);
  GgufKeys keys(values, family.gguf_architecture);
  family.write_gguf(config, keys);
}

std::vector<io::GgufTensorOut> gguf_tensors(nn::CausalLM& model, GgmlType matrices) {
  const DecoderConfig config = config_of(model.info());
  const GgufHeads heads(config);
  const double norm_offset = config.family->design.norm_offset;
  std::vector<io::GgufTensorOut> tensors;
  for (const auto& [name, factors] : gguf_rope_tables(config))
    tensors.push_back(
        tensor_out(name, factors.shape(), GgmlType::f32, [factors = factors] { return factors; }));
  for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
    const std::optional<std::string> name = gguf_name(parameter.path, config.family->gguf_names);
    GRAFT_CHECK(name, ConfigError, "gguf: the model has ", parameter.path,
                ", which GGUF files have no name for; if these are adapters, merge them first");
    const Shape shape = parameter.member->shape();
    tensors.push_back(tensor_out(*name, shape, type_of(*name, shape, matrices),
                                 [=] { return stored(parameter, heads, norm_offset); }));
  }
  return tensors;
}

void check_gguf_metadata(const std::filesystem::path& file, const nn::ModelInfo& info) {
  const DecoderConfig written = read_gguf_config(io::GgufModel(file));
  if (const auto what = difference(config_of(info), written))
    throw ConfigError(concat("gguf: ", info.name_or_path, ": ", *what,
                             " cannot be said in a GGUF file of the architecture ",
                             written.family->gguf_architecture));
}

}  // namespace graft::models
