#include "graft/peft/combine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "graft/peft/targets.h"
#include "graft/tensor/error.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/random.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

using enum Combination;

constexpr std::array<std::string_view, 11> type_names = {"linear",
                                                         "cat",
                                                         "svd",
                                                         "ties",
                                                         "ties_svd",
                                                         "dare_linear",
                                                         "dare_ties",
                                                         "dare_linear_svd",
                                                         "dare_ties_svd",
                                                         "magnitude_prune",
                                                         "magnitude_prune_svd"};

bool is_one_of(Combination type, std::initializer_list<Combination> types) {
  return std::ranges::find(types, type) != types.end();
}

bool prunes_by_magnitude(Combination type) {
  return is_one_of(type, {ties, ties_svd, magnitude_prune, magnitude_prune_svd});
}
bool prunes_at_random(Combination type) {
  return is_one_of(type, {dare_linear, dare_ties, dare_linear_svd, dare_ties_svd});
}
bool elects(Combination type) {
  return is_one_of(type, {ties, ties_svd, dare_ties, dare_ties_svd});
}

/// What the type makes of one tensor of each adapter.
class TaskVectors {
 public:
  TaskVectors(const CombineOptions& options, std::string_view stream)
      : options_(options), stream_(stream) {}

  Tensor combined(std::vector<Tensor> xs, const std::vector<double>& weights) const {
    const Combination type = options_.combination_type;
    for (size_t i = 0; i < xs.size(); ++i) {
      if (prunes_by_magnitude(type))
        xs[i] = prune_by_magnitude(xs[i], *options_.density);
      else if (prunes_at_random(type))
        xs[i] = prune_at_random(xs[i], *options_.density, options_.seed,
                                stream_of(concat(stream_, ".", i)));
    }
    if (!elects(type))
      return weighted_sum(xs, weights);
    if (options_.compat == Compat::peft)
      return mean_of_agreeing(xs, weights, elect_signs(xs, options_.majority_sign_method));
    // A negative weight is a vote for the opposite.
    for (size_t i = 0; i < xs.size(); ++i)
      xs[i] = ops::scale(xs[i], weights[i]);
    return mean_of_agreeing(xs, std::vector<double>(xs.size(), 1),
                            elect_signs(xs, options_.majority_sign_method));
  }

 private:
  const CombineOptions& options_;
  std::string_view stream_;
};

bool has_factors(const LayerPart& part) {
  return !part.change.defined();
}

double factor_of(const LayerPart& part) {
  return part.weight * part.scaling;
}

/// Σ wΔ as factors: the ranks add up, and nothing is rounded but the scaling of A.
Factors concatenated(const std::vector<LayerPart>& parts) {
  std::vector<Factors> scaled;
  for (const LayerPart& part : parts)
    scaled.push_back(
        {.a = ops::scale(part.factors.a.contiguous(), factor_of(part)), .b = part.factors.b});
  return side_by_side(scaled);
}

/// The changes themselves, combined: (out, in).
Tensor combined_change(const std::vector<LayerPart>& parts, const TaskVectors& vectors) {
  std::vector<Tensor> changes;
  std::vector<double> weights;
  for (const LayerPart& part : parts) {
    changes.push_back(part.change.defined() ? part.change
                                            : ops::scale(product(part.factors), part.scaling));
    weights.push_back(part.weight);
  }
  return vectors.combined(std::move(changes), weights);
}

/// PEFT's formula for A and B each by itself, the root of the weight on both.
Factors combined_factors(const std::vector<LayerPart>& parts, const CombineOptions& options,
                         std::string_view stream) {
  std::vector<Tensor> as, bs;
  std::vector<double> a_weights, b_weights;
  for (const LayerPart& part : parts) {
    GRAFT_CHECK(part.factors.a.dim(0) == parts[0].factors.a.dim(0), ConfigError,
                "combine: ", stream, " has ranks ", parts[0].factors.a.dim(0), " and ",
                part.factors.a.dim(0), ", and ", name(options.combination_type),
                " as PEFT does it needs equal ones; without compat they may differ");
    const double root = std::sqrt(std::fabs(factor_of(part)));
    as.push_back(part.factors.a.contiguous());
    bs.push_back(part.factors.b.contiguous());
    a_weights.push_back(std::copysign(root, factor_of(part)));
    b_weights.push_back(root);
  }
  return {.a = TaskVectors(options, concat(stream, ".A")).combined(std::move(as), a_weights),
          .b = TaskVectors(options, concat(stream, ".B")).combined(std::move(bs), b_weights)};
}

/// Clips the factors at ± the quantile q of all their values, between two of them in proportion.
void clip_at_quantile(Factors& factors, double q, bool of_magnitudes) {
  std::vector<double> values = factors.b.to_vector();
  const std::vector<double> more = factors.a.to_vector();
  values.insert(values.end(), more.begin(), more.end());
  for (double& value : values)
    value = of_magnitudes ? std::fabs(value) : value;
  std::ranges::sort(values);
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  const double bound =
      values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  for (Tensor* factor : {&factors.a, &factors.b}) {
    std::vector<double> clipped = factor->to_vector();
    for (double& value : clipped)
      value = std::min(std::max(value, -bound), bound);
    *factor = Tensor::from(clipped, factor->shape()).to(factor->dtype());
  }
}

CombinedLayer reported(Approximation approximation) {
  return {.factors = std::move(approximation.factors),
          .energy = approximation.energy,
          .discarded = approximation.discarded};
}

CombinedLayer exact(const Factors& factors, int64_t rank) {
  return {.factors = padded(factors, rank)};
}

CombinedLayer combined_as_peft(const std::vector<LayerPart>& parts, const CombineOptions& options,
                               int64_t rank, std::string_view stream) {
  if (is_svd(options.combination_type))
    return reported(
        compress(combined_change(parts, TaskVectors(options, stream)), rank, Svd::exact));
  return exact(combined_factors(parts, options, stream), rank);
}

}  // namespace

bool is_svd(Combination type) {
  return is_one_of(type, {svd, ties_svd, dare_linear_svd, dare_ties_svd, magnitude_prune_svd});
}

bool prunes(Combination type) {
  return prunes_by_magnitude(type) || prunes_at_random(type);
}

double CombineReport::discarded_share() const {
  double energy = 0;
  double discarded = 0;
  for (const Layer& layer : layers) {
    energy += layer.energy;
    discarded += layer.discarded;
  }
  return energy > 0 ? discarded / energy : 0;
}

std::string_view name(Combination type) {
  return type_names[static_cast<size_t>(type)];
}

std::vector<std::string> combination_names() {
  return {type_names.begin(), type_names.end()};
}

Combination parse_combination(std::string_view name) {
  const auto found = std::ranges::find(type_names, name);
  if (found == type_names.end())
    throw ConfigError(concat("combination_type is \"", name, "\"",
                             did_you_mean(std::string(name), combination_names()),
                             "; there are: ", Targets(combination_names())));
  return static_cast<Combination>(found - type_names.begin());
}

void validate(const CombineOptions& options) {
  const Combination type = options.combination_type;
  GRAFT_CHECK(!prunes(type) || options.density.has_value(), ConfigError, "combine: ", name(type),
              " prunes, and density is not given; it says which share stays, such as 0.5");
  GRAFT_CHECK(prunes(type) || !options.density, ConfigError, "combine: density is given, but ",
              name(type), " does not prune");
  GRAFT_CHECK(!options.density || (*options.density > 0 && *options.density <= 1), ConfigError,
              "combine: density is ", options.density.value_or(0),
              ", a number above 0 and up to 1 expected");
  GRAFT_CHECK(type != cat || !options.svd_rank, ConfigError,
              "combine: svd_rank is given, but cat adds the ranks of the adapters up; take svd to "
              "choose one");
  GRAFT_CHECK(options.svd_rank.value_or(1) > 0, ConfigError, "combine: svd_rank is ",
              options.svd_rank.value_or(0), ", at least 1 expected");
  GRAFT_CHECK(type != cat || !options.svd_clamp, ConfigError,
              "combine: svd_clamp is given, but cat keeps the factors of the adapters");
  const double clamp = options.svd_clamp.value_or(1);
  GRAFT_CHECK(clamp > 0 && clamp <= 1, ConfigError, "combine: svd_clamp is ", clamp,
              ", a quantile above 0 and up to 1 expected");
}

CombinedLayer combine(const std::vector<LayerPart>& parts, const CombineOptions& options,
                      int64_t rank, std::string_view stream) {
  const Combination type = options.combination_type;
  CombinedLayer layer;
  const bool is_plain = (type == linear || type == svd) && std::ranges::all_of(parts, has_factors);
  if (type == cat)
    layer = exact(concatenated(parts), rank);
  else if (options.compat == Compat::peft)
    layer = combined_as_peft(parts, options, rank, stream);
  else if (is_plain && parts.size() == 1 && parts[0].factors.a.dim(0) <= rank)
    layer = exact(concatenated(parts), rank);
  else if (is_plain)
    layer = reported(compress(concatenated(parts), rank));
  else
    layer =
        reported(compress(combined_change(parts, TaskVectors(options, stream)), rank, Svd::fast));
  if (options.svd_clamp)
    clip_at_quantile(layer.factors, *options.svd_clamp, options.compat == Compat::none);
  return layer;
}

}  // namespace graft::peft
