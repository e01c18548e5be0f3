#include "graft/models/family.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "graft/models/decoder.h"
#include "graft/models/gemma3_keys.h"
#include "graft/models/gguf_config.h"
#include "graft/models/gpt2.h"
#include "graft/models/gpt2_keys.h"
#include "graft/models/llama_keys.h"
#include "graft/models/rope_config.h"

namespace graft::models {
namespace {

/// What nearly all families have: Llama's keys and one rotary embedding.
void read_common(const io::JsonObject& json, DecoderConfig& config) {
  read_llama_keys(json, config);
  config.ropes = {read_rope(json, rope_defaults(config))};
}

void write_common(const DecoderConfig& config, io::Json& json) {
  write_llama_keys(config, json);
  write_rope(config.ropes.at(0), config.head_dim, json);
}

void read_llama(const io::JsonObject& json, DecoderConfig& config) {
  read_common(json, config);
  read_attention_bias(json, config);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
}

void write_llama(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_attention_bias(config, json);
  json["mlp_bias"] = config.mlp_bias;
}

void read_qwen2(const io::JsonObject& json, DecoderConfig& config) {
  read_common(json, config);
  config.qkv_bias = true;
  read_qwen_window(json, config);
}

void write_qwen2(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_qwen_window(config, json);
}

void read_mistral(const io::JsonObject& json, DecoderConfig& config) {
  constexpr int64_t usual_window = 4096;
  read_common(json, config);
  read_window(json, usual_window, config);
}

void write_mistral(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_window(config, json);
}

void read_qwen3(const io::JsonObject& json, DecoderConfig& config) {
  read_common(json, config);
  read_attention_bias(json, config);
  read_qwen_window(json, config);
}

void write_qwen3(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_attention_bias(config, json);
  write_qwen_window(config, json);
}

void read_phi3(const io::JsonObject& json, DecoderConfig& config) {
  read_llama_keys(json, config);
  RopeDefaults defaults = rope_defaults(config);
  defaults.partial = true;
  defaults.old_longrope_names = true;
  defaults.original_positions = 4096;
  config.ropes = {read_rope(json, defaults)};
  const nn::RopeKind kind = config.ropes[0].kind;
  GRAFT_CHECK(kind == nn::RopeKind::standard || kind == nn::RopeKind::longrope, ConfigError,
              json.file(),
              ": rope_type of a phi3 model is neither default nor longrope, which is "
              "not supported");
  read_window(json, 0, config);
}

void write_phi3(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_window(config, json);
}

void read_olmo2(const io::JsonObject& json, DecoderConfig& config) {
  read_common(json, config);
  read_attention_bias(json, config);
}

void write_olmo2(const DecoderConfig& config, io::Json& json) {
  write_common(config, json);
  write_attention_bias(config, json);
}

std::unique_ptr<nn::CausalLM> make_gpt2(const DecoderConfig& config, std::string name_or_path,
                                        DType dtype) {
  return std::make_unique<Gpt2>(config, std::move(name_or_path), dtype);
}

constexpr std::array family_table{
    Family{.model_type = "llama",
           .architecture = "LlamaForCausalLM",
           .gguf_architecture = "llama",
           .gguf_interleaves_rotary = true,
           .read_gguf = read_gguf_llama,
           .write_gguf = write_gguf_common,
           .read = read_llama,
           .write = write_llama},
    Family{.model_type = "qwen2",
           .architecture = "Qwen2ForCausalLM",
           .gguf_architecture = "qwen2",
           .read_gguf = read_gguf_qwen2,
           .write_gguf = write_gguf_common,
           .defaults = {.max_positions = 32768, .kv_heads = 32},
           .read = read_qwen2,
           .write = write_qwen2},
    Family{.model_type = "mistral",
           .architecture = "MistralForCausalLM",
           .gguf_architecture = "llama",  // read as Llama
           .gguf_interleaves_rotary = true,
           .write_gguf = write_gguf_common,
           .defaults = {.max_positions = 131072, .kv_heads = 8},
           .read = read_mistral,
           .write = write_mistral},
    Family{.model_type = "qwen3",
           .architecture = "Qwen3ForCausalLM",
           .gguf_architecture = "qwen3",
           .gguf_names = gguf_qk_norm_names,
           .read_gguf = read_gguf_qwen3,
           .write_gguf = write_gguf_common,
           .design = {.qk_norm = nn::QueryKeyNorm::head},
           .defaults = {.max_positions = 32768, .kv_heads = 32, .head_dim = 128},
           .read = read_qwen3,
           .write = write_qwen3},
    Family{.model_type = "gpt2",
           .architecture = "GPT2LMHeadModel",
           .gguf_architecture = "gpt2",
           .gguf_names = gguf_gpt2_names,
           .read_gguf = read_gguf_gpt2,
           .write_gguf = write_gguf_gpt2,
           .make = make_gpt2,
           .read = read_gpt2,
           .write = write_gpt2},
    Family{.model_type = "phi3",
           .architecture = "Phi3ForCausalLM",
           .gguf_architecture = "phi3",
           .gguf_names = gguf_phi3_names,
           .read_gguf = read_gguf_phi3,
           .write_gguf = write_gguf_phi3,
           .design = {.fused = true, .renews_cache = true},
           .defaults = {.max_positions = 4096, .norm_eps = 1e-5},
           .read = read_phi3,
           .write = write_phi3},
    Family{.model_type = "gemma3_text",
           .architecture = "Gemma3ForCausalLM",
           .python_module = "transformers.models.gemma3.modeling_gemma3",
           .gguf_architecture = "gemma3",
           .gguf_names = gguf_gemma3_names,
           .read_gguf = read_gguf_gemma3,
           .write_gguf = write_gguf_gemma3,
           .design = {.qk_norm = nn::QueryKeyNorm::head,
                      .norms = nn::NormPlacement::both,
                      .norm_offset = 1},
           .defaults = {.max_positions = 131072, .kv_heads = 4, .head_dim = 256, .tied_head = true},
           .keys = {.activation = "hidden_activation", .usual_activation = "gelu_pytorch_tanh"},
           .read = read_gemma3,
           .write = write_gemma3},
    Family{.model_type = "olmo2",
           .architecture = "Olmo2ForCausalLM",
           .gguf_architecture = "olmo2",
           .gguf_names = gguf_olmo2_names,
           .read_gguf = read_gguf_olmo2,
           .write_gguf = write_gguf_common,
           .design = {.qk_norm = nn::QueryKeyNorm::projection, .norms = nn::NormPlacement::after},
           .defaults = {.norm_eps = 1e-5},
           .read = read_olmo2,
           .write = write_olmo2},
};

/// The first one of that name; nullptr where there is none.
const Family* find(std::string_view Family::*member, std::string_view name) {
  const auto it = std::ranges::find(family_table, name, member);
  return it == family_table.end() || name.empty() ? nullptr : &*it;
}

/// "LlamaForCausalLM, …", each once.
std::string listed(std::string_view Family::*member) {
  std::string list;
  for (const Family& family : family_table) {
    if (&family == find(member, family.*member))
      list += (list.empty() ? "" : ", ") + std::string(family.*member);
  }
  return list;
}

}  // namespace

std::span<const Family> families() {
  return family_table;
}

const Family& family_of(const io::JsonObject& json) {
  if (json.has("architectures")) {
    const std::vector<std::string> architectures = json.texts("architectures");
    if (architectures.size() != 1)
      throw json.wrong("architectures", "a list with one name");
    const Family* family = find(&Family::architecture, architectures[0]);
    GRAFT_CHECK(family != nullptr, ConfigError, json.file(), ": architecture ", architectures[0],
                " is not supported; supported: ", listed(&Family::architecture));
    return *family;
  }
  const std::string model_type = json.text("model_type");
  const Family* family = find(&Family::model_type, model_type);
  GRAFT_CHECK(family != nullptr, ConfigError, json.file(), ": model_type ", model_type,
              " is not supported; supported: ", listed(&Family::model_type));
  return *family;
}

const Family& family_of_gguf(std::string_view file, std::string_view architecture) {
  const Family* family = find(&Family::gguf_architecture, architecture);
  GRAFT_CHECK(family != nullptr, ConfigError, file, ": general.architecture ", architecture,
              " is not supported; supported: ", listed(&Family::gguf_architecture));
  return *family;
}

std::unique_ptr<nn::CausalLM> make_model(const DecoderConfig& config, std::string name_or_path,
                                         DType dtype) {
  if (config.family->make != nullptr)
    return config.family->make(config, std::move(name_or_path), dtype);
  return std::make_unique<Decoder>(config, std::move(name_or_path), dtype);
}

std::string python_module_of(const Family& family) {
  if (!family.python_module.empty())
    return std::string(family.python_module);
  return concat("transformers.models.", family.model_type, ".modeling_", family.model_type);
}

}  // namespace graft::models
