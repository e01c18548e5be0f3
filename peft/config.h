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
  pissa,       ///< "pissa": the weight's largest singular values (Meng et al. 2024,
               ///< arXiv:2404.02948), which are taken out of the weight
  olora,       ///< "olora": the first columns of its Q and rows of its R (Büyükakyüz 2024,
               ///< arXiv:2406.01775), taken out likewise
  eva,         ///< "eva": A from the inputs of the layer (peft/eva.h), B zero. A new adapter that
               ///< is not given its A starts as with true
  loftq,       ///< "loftq": B A is what quantising the weight loses (peft/loftq.h)
};

/// "true", "false", "gaussian", "orthogonal", "pissa", "olora", "eva", "loftq".
std::string_view name(LoraInit init);
/// The initialisation of that name; of "pissa_niter_16", pissa. Throws ConfigError, saying so where
/// PEFT knows it.
LoraInit parse_lora_init(std::string_view name);
/// 16 for "pissa_niter_16", else nothing. Throws ConfigError where the number is none.
std::optional<int64_t> parse_pissa_niter(std::string_view name);

/// Settings of EVA: PEFT's eva_config.
struct EvaConfig {
  /// The rank of a layer may become this many times as high, at least 1; with 1 ranks stay.
  double rho = 2;
  /// A direction is found once a batch turns it by less than this cosine, in [0, 1].
  double tau = 0.99;
  /// Only tokens whose label is not this one count.
  bool use_label_mask = true;
  int64_t label_mask_value = -100;
  /// Divides each direction by the root of its singular value.
  bool whiten = false;
  /// Alphas follow the ranks, so that scalings stay.
  bool adjust_scaling_factors = true;

  friend bool operator==(const EvaConfig&, const EvaConfig&) = default;
};

/// Settings of LoftQ: PEFT's loftq_config.
struct LoftQConfig {
  int64_t loftq_bits = 4;  ///< of the quantised weight; graft has 4
  int64_t loftq_iter = 1;  ///< how often the weight is quantised; above 1 it is a weight of its own

  friend bool operator==(const LoftQConfig&, const LoftQConfig&) = default;
};

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
  /// Trains the length of each of the weight's rows too: weight-decomposed adaptation.
  bool use_dora = false;
  LoraInit init_lora_weights = LoraInit::standard;
  /// With pissa: the iterations of a partial decomposition ("pissa_niter_16"); unset: a whole one.
  std::optional<int64_t> pissa_niter{};
  /// Of eva, and of no effect without; unset: its defaults.
  std::optional<EvaConfig> eva_config{};
  /// Of loftq, and of no effect without; unset: its defaults.
  std::optional<LoftQConfig> loftq_config{};
  /// The adapter applies to each text from the last place on where these tokens stand, and to
  /// texts without them not at all: aLoRA (peft/alora.h).
  std::optional<std::vector<int64_t>> alora_invocation_tokens{};
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

/// True where an adapter on a linear layer starts with a part of its weight, which the layer is
/// then without.
bool takes_from_base(const LoraConfig& config);
/// What init_lora_weights is called: "pissa_niter_16".
std::string init_name(const LoraConfig& config);

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
