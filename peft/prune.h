// Pruning of task vectors and the election of signs: what TIES and DARE are made of.
//
// Tensors are f32 or f64, of one shape, and are worked on element by element.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graft/tensor/tensor.h"

namespace graft::peft {

/// How signs are elected: by the sum of the values, or by how many there are of each.
enum class MajoritySign { total, frequency };
/// "total", "frequency".
std::string_view name(MajoritySign method);
/// The method of that name. Throws ConfigError.
MajoritySign parse_majority_sign(std::string_view name);

/// x with all but the int(density · n) elements of largest magnitude set to zero. Of equals those
/// that come first stay.
Tensor prune_by_magnitude(const Tensor& x, double density);

/// x with each element kept with probability `density` and divided by it, else zero (DARE; Yu et
/// al. 2023, arXiv:2311.03099). Which ones stay depends on seed and stream only.
Tensor prune_at_random(const Tensor& x, double density, uint64_t seed, uint64_t stream);

/// The elected sign of each element, 1 or -1; a draw elects 1 (TIES; Yadav et al. 2023,
/// arXiv:2306.01708).
Tensor elect_signs(const std::vector<Tensor>& xs, MajoritySign method);

/// Σ weights[i] · xs[i].
Tensor weighted_sum(const std::vector<Tensor>& xs, const std::vector<double>& weights);

/// The mean, for each element, of weights[i] · xs[i] over those i whose xs[i] has the elected sign;
/// zero where none has.
Tensor mean_of_agreeing(const std::vector<Tensor>& xs, const std::vector<double>& weights,
                        const Tensor& signs);

}  // namespace graft::peft
