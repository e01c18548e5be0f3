// Families: what the decoders of one design have in common, as rows of a table.
//
// A family is a table of differences, not a class: its names, how its layers differ from Llama's,
// what transformers assumes for keys that config.json leaves out, and the keys that only it has.
// Everything else is DecoderConfig and Decoder.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "graft/io/json.h"
#include "graft/models/decoder_config.h"
#include "graft/models/gguf_keys.h"
#include "graft/models/gguf_metadata.h"
#include "graft/models/gguf_names.h"

namespace graft::models {

/// How the layers of a family differ from Llama's.
struct Design {
  nn::QueryKeyNorm qk_norm = nn::QueryKeyNorm::none;
  nn::NormPlacement norms = nn::NormPlacement::before;
  /// Added to the weights of norms.
  double norm_offset = 0;
  /// `qkv_proj` and `gate_up_proj` are one module each.
  bool fused = false;
  /// A generation that grows beyond the original positions of a longrope computes its keys again.
  /// Other families go on with those turned by the angles of short texts, as transformers does.
  bool renews_cache = false;
};

/// What transformers assumes where config.json does not say.
struct ConfigDefaults {
  int64_t max_positions = 2048;
  int64_t kv_heads = 0;  ///< 0: as many as query heads
  int64_t head_dim = 0;  ///< 0: hidden_size / heads
  double norm_eps = 1e-6;
  bool tied_head = false;
};

/// Llama's keys that some families call otherwise.
struct KeyNames {
  std::string_view activation = "hidden_act";
  /// What the activation is where the key is missing.
  std::string_view usual_activation = "silu";
};

struct Family {
  std::string_view model_type;    ///< "llama"
  std::string_view architecture;  ///< "LlamaForCausalLM"
  /// Of transformers, where it is not transformers.models.TYPE.modeling_TYPE.
  std::string_view python_module{};
  /// general.architecture of GGUF files; empty where those are not read.
  std::string_view gguf_architecture{};
  /// Of each head's rows of q and k, GGUF files hold rows i and i + D/2 next to each other.
  bool gguf_interleaves_rotary = false;
  /// Names in GGUF files that are unlike Llama's.
  std::span<const GgufName> gguf_names{};
  /// Reads the metadata of a GGUF file but for the token ids, the vocabulary and the head.
  void (*read_gguf)(const GgufMetadata& metadata, DecoderConfig& config) = nullptr;
  /// Writes that, and the vocabulary's size.
  void (*write_gguf)(const DecoderConfig& config, GgufKeys& keys) = nullptr;
  Design design{};
  ConfigDefaults defaults{};
  KeyNames keys{};
  /// Builds the model; unset for a Decoder.
  std::unique_ptr<nn::CausalLM> (*make)(const DecoderConfig& config, std::string name_or_path,
                                        DType dtype) = nullptr;
  /// Reads config.json but for the token ids, and writes it.
  void (*read)(const io::JsonObject& json, DecoderConfig& config) = nullptr;
  void (*write)(const DecoderConfig& config, io::Json& json) = nullptr;
};

/// All families graft has.
std::span<const Family> families();

/// The family of a config.json, by `architectures` and `model_type`. Throws ConfigError that names
/// what was found and what is supported.
const Family& family_of(const io::JsonObject& json);

/// The family of a GGUF architecture; throws as above.
const Family& family_of_gguf(std::string_view file, std::string_view architecture);

/// A model of the configuration's family, without numbers.
std::unique_ptr<nn::CausalLM> make_model(const DecoderConfig& config, std::string name_or_path,
                                         DType dtype);

/// The Python module that defines the family's architecture, as PEFT notes it.
std::string python_module_of(const Family& family);

}  // namespace graft::models
