// Extraction: a LoRA out of a model that was trained as a whole. Each matrix that was to be adapted
// gets the product of two small ones that is nearest to what training changed of it.
//
// Matrices are read one after the other, so that of models whose weights are streamed
// (nn/weight.h) no more than one at a time is held of each, beside the adapter.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/nn/causal_lm.h"
#include "graft/peft/config.h"
#include "graft/peft/matching.h"
#include "graft/peft/sites.h"

namespace graft::peft {

/// One matrix that is extracted. Energies are sums of squares.
struct ExtractedLayer {
  std::string path;        ///< of the module
  double weight_norm = 0;  ///< Frobenius norm of the base's weight
  double norm = 0;         ///< of the change
  int64_t rank = 0;
  double energy = 0;     ///< of the change
  double discarded = 0;  ///< of that, what the product lacks

  /// Share of the energy that the adapter has, from 0 to 1.
  double kept() const { return 1 - discarded / energy; }
};

/// A parameter that differs and has no low-rank matrices.
struct OtherChange {
  std::string path;        ///< of the parameter
  double weight_norm = 0;  ///< of the base's numbers
  double norm = 0;         ///< of the change
  bool is_saved = false;   ///< the adapter has a copy
};

struct ExtractOptions {
  /// As those of LoraConfig. Layers of these that do not differ are left out.
  Targets target_modules = Targets::all_linear();
  Targets exclude_modules{};
  /// Exactly one is set: the rank of each layer, which is lower where the change has no more; or
  /// the share of the change's energy, in (0, 1], to be kept by as low a rank as does.
  std::optional<int64_t> rank{};
  std::optional<double> energy{};
  /// With `energy`: the highest rank a layer may get.
  std::optional<int64_t> max_rank{};
  /// What else differs is kept as well: biases of adapted layers as PEFT's bias "lora_only", all
  /// others as modules_to_save.
  bool save_rest = false;
  RegexMatcher matcher{};
  Observer observer{};
  /// Told of each layer as it is done.
  std::function<void(const ExtractedLayer&)> on_layer{};
};

/// An adapter on the base, and how near it comes to the tuned model.
struct Extraction {
  LoraConfig config;
  std::vector<io::NamedTensor> tensors{};  ///< f32, by their keys
  std::vector<ExtractedLayer> layers{};    ///< in the model's order
  std::vector<OtherChange> others{};

  /// Of all changes as one vector, those of other parameters too.
  double norm() const;
  /// Share of the energy of all changes that the adapter has.
  double kept() const;
  /// Writes adapter_config.json, adapter_model.safetensors and README.md into a folder that exists.
  /// Throws IoError.
  void save(const std::filesystem::path& folder) const;
};

/// Extracts the adapter that makes `tuned` of `base`, about. lora_alpha is the rank, so that the
/// scaling is 1. Where head and embedding share a matrix in both models, its change is one pair of
/// matrices or one copy for both (ensure_weight_tying). Changes neither model. Throws ConfigError
/// where the models are of different architectures, sizes or settings, where one is in 4 bits,
/// where no targeted layer differs, where a target matches nothing and where the rank is above the
/// sizes of all layers; NonFiniteError where a number of a model is NaN or infinite.
Extraction extract_lora(nn::CausalLM& base, nn::CausalLM& tuned, const ExtractOptions& options);

}  // namespace graft::peft
