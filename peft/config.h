// LoraConfig: what a LoRA adapter is, with the field names of PEFT's LoraConfig, and its JSON file.
//
//   LoraConfig config{.r = 16, .target_modules = {"q_proj", "v_proj"}, .lora_alpha = 32};
//
// The file is PEFT's adapter_config.json. Each of its keys is either a field here or asks for
// something graft does not build, and is then refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/peft/one_or_many.h"
#include "graft/peft/targets.h"

namespace graft::peft {

/// The version of PEFT whose files are written.
inline constexpr std::string_view peft_version = "0.21.2";

/// How A and B start: PEFT's init_lora_weights.
enum class LoraInit {
  standard,    ///< true: A uniform in ±1/sqrt(in), B zero, so the model starts as its base
  random,      ///< false: A as above, B uniform in ±1/sqrt(r); for tests
  gaussian,    ///< "gaussian": A normal with deviation 1/r, B zero
  orthogonal,  ///< "orthogonal": neither is zero, but B A is; needs an even rank
};

/// "true", "false", "gaussian", "orthogonal".
std::string_view name(LoraInit init);
/// The initialisation of that name. Throws ConfigError, saying so where PEFT knows it.
LoraInit parse_lora_init(std::string_view name);

/// The class of the base model, in files without a task type.
struct AutoMapping {
  std::string base_model_class{};  ///< "LlamaForCausalLM"
  std::string parent_library{};    ///< "transformers.models.llama.modeling_llama"

  friend bool operator==(const AutoMapping&, const AutoMapping&) = default;
};

/// Values for modules whose path matches a key; the first key that matches wins. The key "foo"
/// stands for every path that is "foo" or ends in ".foo", "^foo" for "foo" alone.
template <class T>
using Pattern = std::vector<std::pair<std::string, T>>;

/// Rows of embeddings, by the name of the module, which may be the end of its path. An empty name
/// stands for the embedding of the input: in a file, a list without names.
using TokenIndices = std::vector<std::pair<std::string, std::vector<int64_t>>>;

struct LoraConfig {
  /// Rank.
  int64_t r = 8;
  /// Modules to adapt; unset: what PEFT takes for the model's type.
  Targets target_modules{};
  /// Modules to leave out of those; a list or a regular expression.
  Targets exclude_modules{};
  /// Scaling is lora_alpha / r, or lora_alpha / sqrt(r) where use_rslora.
  double lora_alpha = 8;
  /// Probability of zeroing an element of A's input while training, in [0, 1).
  double lora_dropout = 0;
  /// True where the file of the base model stores its weights (in, out). Says nothing about memory.
  bool fan_in_fan_out = false;
  /// Biases of the base model that are trained along: "none", "all", or "lora_only" for those of
  /// the adapted layers. The base model keeps its own.
  std::string bias = "none";
  /// Gives each B a bias that is trained.
  bool lora_bias = false;
  bool use_rslora = false;
  LoraInit init_lora_weights = LoraInit::standard;
  /// Only layers with these indices; all where empty. Needs a list of targets.
  OneOrMany<int64_t> layers_to_transform{};
  /// What the index follows in the path ("layers", "h"); any name where empty.
  OneOrMany<std::string> layers_pattern{};
  /// Ranks, and alphas, that differ from r and lora_alpha.
  Pattern<int64_t> rank_pattern{};
  Pattern<double> alpha_pattern{};
  /// Modules that are trained whole, in copies that belong to the adapter. As in PEFT, a name
  /// stands for every module whose path ends in it, even within a word.
  std::vector<std::string> modules_to_save{};
  /// Tokens whose embeddings are trained, in copies that belong to the adapter.
  TokenIndices trainable_token_indices{};
  /// Where the head shares the matrix of the embedding, the parts of the adapter on the two are
  /// one: the same copy, or one pair of low-rank matrices.
  bool ensure_weight_tying = false;
  /// "CAUSAL_LM" or unset.
  std::optional<std::string> task_type{};
  /// Where the base model came from; information only.
  std::optional<std::string> base_model_name_or_path{};
  std::optional<std::string> revision{};
  /// True for an adapter that is not trained. Always true in a file.
  bool inference_mode = false;
  std::optional<AutoMapping> auto_mapping{};

  friend bool operator==(const LoraConfig&, const LoraConfig&) = default;
};

/// Throws ConfigError where a setting is out of its range, contradicts another, or is not built.
void validate(const LoraConfig& config);

/// The factor of B·A for a rank and an alpha.
double scaling(const LoraConfig& config, int64_t r, double alpha);

/// Reads adapter_config.json. Throws FormatError, naming file and key, for wrong values, for
/// requests that are not built, and for unknown keys that are not null, false or empty; IoError.
LoraConfig read_lora_config(const std::filesystem::path& file);
/// The same from a text; `file` is for messages.
LoraConfig parse_lora_config(std::string_view json, std::string_view file);

/// The bytes PEFT writes for this configuration: all of its keys in order, inference_mode true, no
/// newline at the end. Names are sorted, where PEFT's order is that of a Python set. The patterns
/// keep their order, where PEFT sorts them and so can change which key wins.
std::string to_json(const LoraConfig& config);

}  // namespace graft::peft
