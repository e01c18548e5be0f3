// What two adapters change, compared layer by layer on the exact changes of the weights. Where
// those are products of two small matrices, which DoRA's alone are not, all is worked out on the
// factors, in f64, and no matrix of a layer's size is formed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/peft/adapter_layers.h"

namespace graft::peft {

/// The change Δ of one layer, or of all of them.
struct ChangeSize {
  double norm = 0;            ///< Frobenius norm of Δ
  int64_t rank = 0;           ///< of one layer: that of the factors; 0 where there are none
  double effective_rank = 0;  ///< where there are factors: effective_rank() of Δ's singular values
};

struct LayerDiff {
  std::string path;
  std::optional<ChangeSize> a, b;  ///< unset where an adapter has not the layer
  double product = 0;              ///< Σ Δa ∘ Δb
  double difference = 0;           ///< Frobenius norm of Δa - Δb

  /// Of the angle between Δa and Δb as vectors; unset where one of them is zero or not there.
  std::optional<double> cosine() const;
};

struct AdapterDiff {
  std::vector<LayerDiff> layers;  ///< of both, by their paths
  LayerDiff total;                ///< of all layers as one vector, without ranks
};

/// exp(-Σ pᵢ ln pᵢ) with pᵢ = σᵢ / Σσ: how many directions a matrix spreads over, from 1 for one to
/// r for r equal ones (Roy and Vetterli, "The effective rank", 2007). 0 of a matrix of zeros.
double effective_rank(const std::vector<double>& singular_values);

/// Compares two adapters by their files alone, or measures one where `b` is nullptr: Δ is
/// scaling · B A. Throws ConfigError where they are for models of other sizes and where Δ depends
/// on the model, NonFiniteError where a number is NaN or infinite.
AdapterDiff diff_adapters(const AdapterFiles& a, const AdapterFiles* b,
                          const RegexMatcher& matcher);

/// The same of one or two adapters, of any kind, that a PeftModel has put on `base`. Δ is what each
/// alone makes of the weights of `base`.
AdapterDiff diff_adapters(nn::CausalLM& base, const std::vector<std::string>& names);

}  // namespace graft::peft
