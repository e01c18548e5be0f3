// Combination: one adapter made of several, layer by layer.
//
// Each adapter makes a change Δ of a layer's weight: scaling · B A, and of DoRA what that and the
// magnitudes come to. By default the combination is one of these changes: it is worked out exactly
// and, where it has a higher rank than the result may have, replaced by the nearest matrix of that
// rank, with what that discards reported. Compat::peft
// applies PEFT's formulas instead, which for the types without "svd" in their names combine A and
// B by themselves, so that their product is another one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/peft/compat.h"
#include "graft/peft/factors.h"
#include "graft/peft/prune.h"

namespace graft::peft {

/// PEFT's combination types. Those without "svd" differ from those with it only under Compat::peft.
enum class Combination {
  linear,  ///< Σ wΔ
  cat,     ///< Σ wΔ with the ranks added up, which needs no rounding to a rank
  svd,     ///< Σ wΔ
  ties,    ///< TIES: prune by magnitude, elect signs, mean of those that agree
  ties_svd,
  dare_linear,  ///< DARE: prune at random, then Σ
  dare_ties,    ///< prune at random, elect signs, mean of those that agree
  dare_linear_svd,
  dare_ties_svd,
  magnitude_prune,  ///< prune by magnitude, then Σ
  magnitude_prune_svd,
};
/// "linear", "cat", …
std::string_view name(Combination type);
/// The type of that name. Throws ConfigError naming the nearest.
Combination parse_combination(std::string_view name);
/// True of the types with "svd" in their names.
bool is_svd(Combination type);
/// True of the types that prune, and need a density.
bool prunes(Combination type);
/// All names, in order.
std::vector<std::string> combination_names();

struct CombineOptions {
  Combination combination_type = Combination::svd;
  /// Rank of the result; the largest of the adapters where none is given. Not of cat.
  std::optional<int64_t> svd_rank{};
  /// Clips the factors of the result at this quantile of their magnitudes, in (0, 1]; under
  /// Compat::peft of their values, which depends on signs that singular vectors have by chance.
  /// Not of cat. What it cuts off does not count as discarded.
  std::optional<double> svd_clamp{};
  /// Share of numbers that pruning leaves, in (0, 1]. Needed by every type that prunes.
  std::optional<double> density{};
  MajoritySign majority_sign_method = MajoritySign::total;
  /// Of DARE's pruning. The same seed gives the same result.
  uint64_t seed = 0;
  Compat compat = Compat::none;
  /// Called with the path of each layer before it is combined. What it throws ends the combination,
  /// which then has changed nothing.
  std::function<void(const std::string& path)> on_layer{};
};

/// Throws ConfigError where an option is out of its range, missing, or of no use to the type.
void validate(const CombineOptions& options);

/// Of one layer, the part of one adapter: its change is scaling · b a, or `change` where that is
/// defined.
struct LayerPart {
  Factors factors{};
  double scaling = 1;
  double weight = 1;
  Tensor change{};  ///< (out, in), of kinds that are no product of two small matrices
};

/// One layer of the result.
struct CombinedLayer {
  Factors factors;
  /// Sum of the squares of the combined change, and of that what is lost by the rank; both 0 where
  /// nothing can be lost, and where factors are combined by themselves.
  double energy = 0;
  double discarded = 0;
};

/// What came of a combination.
struct CombineReport {
  struct Layer {
    std::string path;
    double energy = 0;
    double discarded = 0;
  };
  int64_t rank = 0;
  std::vector<Layer> layers;

  /// Share of the energy of all layers that is lost, from 0 to 1.
  double discarded_share() const;
};

/// Combines the parts that adapters have of one layer, at least one, into factors of `rank`.
/// `stream` names the layer in random numbers. Requires: validate() accepts the options; all parts
/// have factors for cat and for Compat::peft. Throws ConfigError where a formula needs equal ranks
/// and they differ.
CombinedLayer combine(const std::vector<LayerPart>& parts, const CombineOptions& options,
                      int64_t rank, std::string_view stream);

}  // namespace graft::peft
