// Combining adapters: PEFT's numbers where they are asked for, and exact ones otherwise.

#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/peft/combine.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::message_of, test::random_tensor, test::same_bits;

const Json& answers() {
  static const Json json = io::read_json_file(test::golden("peft_combine.json"));
  return json;
}

Tensor numbers(const std::vector<double>& values, Shape shape) {
  return Tensor::from(values, shape);
}

LayerPart random_part(int64_t r, double weight, uint64_t seed, double scaling = 1) {
  return {.factors = {.a = random_tensor({r, 12}, seed), .b = random_tensor({9, r}, seed + 1)},
          .scaling = scaling,
          .weight = weight};
}

/// Σ weight · scaling · b a.
Tensor exact_sum(const std::vector<LayerPart>& parts) {
  Tensor sum;
  for (const LayerPart& part : parts) {
    const Tensor change = ops::scale(product(part.factors), part.scaling * part.weight);
    sum = sum.defined() ? ops::add(sum, change) : change;
  }
  return sum;
}

const std::vector<Combination> every_type = {Combination::linear,
                                             Combination::cat,
                                             Combination::svd,
                                             Combination::ties,
                                             Combination::ties_svd,
                                             Combination::dare_linear,
                                             Combination::dare_ties,
                                             Combination::dare_linear_svd,
                                             Combination::dare_ties_svd,
                                             Combination::magnitude_prune,
                                             Combination::magnitude_prune_svd};

CombineOptions options_for(Combination type, double density = 0.5) {
  CombineOptions options{.combination_type = type};
  if (prunes(type))
    options.density = density;
  return options;
}

bool draws(Combination type) {
  return name(type).starts_with("dare");
}

/// TIES and magnitude pruning of exact changes, number by number: the weighted changes are pruned;
/// TIES takes the mean of those of the sign that has the larger sum, or more votes.
Tensor pruned_change(const std::vector<LayerPart>& parts, const CombineOptions& options) {
  std::vector<std::vector<double>> tasks;
  Shape shape;
  for (const LayerPart& part : parts) {
    const Tensor change = ops::scale(product(part.factors), part.scaling);
    shape = change.shape();
    tasks.push_back(prune_by_magnitude(change, *options.density).to_vector());
    for (double& value : tasks.back())
      value *= part.weight;
  }
  const bool elects = name(options.combination_type).starts_with("ties");
  std::vector<double> combined(tasks[0].size());
  for (size_t i = 0; i < combined.size(); ++i) {
    double sum = 0, votes = 0;
    for (const auto& task : tasks) {
      sum += task[i];
      votes += (task[i] > 0) - (task[i] < 0);
    }
    combined[i] = sum;
    if (!elects)
      continue;
    const double total = options.majority_sign_method == MajoritySign::total ? sum : votes;
    const double sign = total >= 0 ? 1 : -1;
    double agreeing = 0, count = 0;
    for (const auto& task : tasks) {
      if (task[i] * sign <= 0)
        continue;
      agreeing += task[i];
      ++count;
    }
    combined[i] = agreeing / std::max(count, 1.0);
  }
  return Tensor::from(combined, shape).to(DType::f32);
}

double relative_error(const Tensor& a, const Tensor& b) {
  return std::sqrt(ops::sum_of_squares(ops::add(a, b, -1)) / ops::sum_of_squares(b));
}

}  // namespace

TEST_CASE("combine: on a layer of one number PEFT's products are PEFT's, and graft's are exact") {
  const double a[] = {2, 5}, b[] = {3, 7};
  for (const Json& row : answers()["closed_form"]) {
    const std::string type = row["type"];
    CAPTURE(type);
    std::vector<LayerPart> parts;
    double sum = 0;
    for (size_t i = 0; i < row["weights"].size(); ++i) {
      parts.push_back({.factors = {.a = numbers({a[i]}, {1, 1}), .b = numbers({b[i]}, {1, 1})},
                       .scaling = row["scaling"],
                       .weight = row["weights"][i]});
      sum += parts[i].scaling * parts[i].weight * a[i] * b[i];
    }
    CombineOptions options{.combination_type = parse_combination(type)};
    const int64_t rank = type == "cat" ? 2 : 1;
    CHECK(product(combine(parts, options, rank, "x").factors).item() == doctest::Approx(sum));
    options.compat = Compat::peft;
    const double as_peft = product(combine(parts, options, rank, "x").factors).item();
    CHECK(as_peft == doctest::Approx(row["change"].get<double>()).epsilon(1e-6));
  }
}

TEST_CASE("combine: task vectors are pruned, elected and averaged as by PEFT") {
  for (const Json& row : answers()["task_vectors"]) {
    std::vector<Tensor> tasks;
    const int64_t size = std::ssize(row["tasks"][0]);
    for (const Json& task : row["tasks"])
      tasks.push_back(
          prune_by_magnitude(numbers(task.get<std::vector<double>>(), {size}), row["density"]));
    const std::vector<double> weights = row["weights"];
    const Tensor signs =
        elect_signs(tasks, parse_majority_sign(row["majority_sign_method"].get<std::string>()));
    const Tensor result = row["type"] == "ties" ? mean_of_agreeing(tasks, weights, signs)
                                                : weighted_sum(tasks, weights);
    CHECK(test::max_difference(result, numbers(row["result"].get<std::vector<double>>(), {size})) <
          1e-6);
  }
  // Three tasks, by the two ways of electing: the sum of the values, and how many there are.
  const std::vector<Tensor> three = {numbers({5, 1}, {2}), numbers({-1, -3}, {2}),
                                     numbers({-1, 1}, {2})};
  const auto mean = [&](MajoritySign method) {
    return mean_of_agreeing(three, {1, 1, 1}, elect_signs(three, method)).to_vector();
  };
  CHECK(mean(MajoritySign::total) == std::vector<double>{5, -3});
  CHECK(mean(MajoritySign::frequency) == std::vector<double>{-1, 1});
}

TEST_CASE(
    "combine: pruning keeps the largest, of equals the first, and its count is rounded down") {
  const Tensor x = numbers({1, -3, 3, 0.5, -3}, {5});
  CHECK(prune_by_magnitude(x, 0.4).to_vector() == std::vector<double>{0, -3, 3, 0, 0});
  CHECK(prune_by_magnitude(x, 0.59).to_vector() == std::vector<double>{0, -3, 3, 0, 0});
  CHECK(prune_by_magnitude(x, 0.6).to_vector() == std::vector<double>{0, -3, 3, 0, -3});
  CHECK(prune_by_magnitude(x, 0.1).to_vector() == std::vector<double>(5, 0.0));
  CHECK(same_bits(prune_by_magnitude(x, 1), x));
}

TEST_CASE("combine: random pruning keeps its share, divided by it, by the seed") {
  const Tensor x = random_tensor({200, 100}, 1);
  const Tensor pruned = prune_at_random(x, 0.3, 7, 1);
  int64_t kept = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const float value = pruned.data<float>()[i];
    kept += value != 0;
    CHECK((value == 0 || value == x.data<float>()[i] / 0.3f));
  }
  CHECK(std::fabs(static_cast<double>(kept) / 20000 - 0.3) < 0.015);  // 4.6 standard deviations
  CHECK(same_bits(pruned, prune_at_random(x, 0.3, 7, 1)));
  CHECK(!same_bits(pruned, prune_at_random(x, 0.3, 8, 1)));
  CHECK(!same_bits(pruned, prune_at_random(x, 0.3, 7, 2)));
  CHECK(same_bits(prune_at_random(x, 1, 7, 1), x));
}

TEST_CASE("combine: cat, and sums of enough rank, are exact whatever the weights and scalings") {
  const std::vector<LayerPart> parts = {random_part(2, 0.7, 1, 4), random_part(3, -0.4, 3, 0.5),
                                        random_part(1, 2, 5)};
  const Tensor exact = exact_sum(parts);
  for (const auto& [type, rank] : {std::pair{Combination::cat, 6},
                                   {Combination::svd, 6},
                                   {Combination::linear, 6},
                                   {Combination::svd, 9},
                                   {Combination::linear, 12},
                                   {Combination::cat, 8}}) {
    const CombinedLayer layer = combine(parts, options_for(type), rank, "x");
    CHECK(layer.factors.a.shape() == Shape{rank, 12});
    CHECK(layer.factors.b.shape() == Shape{9, rank});
    CHECK(relative_error(product(layer.factors), exact) < 1e-6);
    CHECK(layer.discarded <= 1e-12 * layer.energy);
  }
  // More columns than rows: the small matrix between the factors is no square one of all ranks.
  std::vector<LayerPart> many;
  for (uint64_t i = 0; i < 6; ++i)
    many.push_back(random_part(4, 1, 10 * i));
  CHECK(relative_error(product(combine(many, options_for(Combination::svd), 9, "x").factors),
                       exact_sum(many)) < 1e-6);
}

TEST_CASE("combine: a lower rank gives the nearest matrix, and the energy that is lost is told") {
  const std::vector<LayerPart> parts = {random_part(4, 1, 1), random_part(4, -0.5, 3, 2)};
  const Tensor exact = exact_sum(parts);
  for (const int64_t rank : {1, 3, 5}) {
    const CombinedLayer layer = combine(parts, options_for(Combination::svd), rank, "x");
    const double lost = ops::sum_of_squares(ops::add(exact, product(layer.factors), -1));
    CHECK(layer.energy == doctest::Approx(ops::sum_of_squares(exact)).epsilon(1e-5));
    CHECK(layer.discarded == doctest::Approx(lost).epsilon(1e-5));
    const Approximation nearest = compress(exact, rank, Svd::exact);
    CHECK(lost == doctest::Approx(nearest.discarded).epsilon(1e-5));
  }
}

TEST_CASE("combine: of pruned and elected changes, what is lost by the rank is what is reported") {
  const std::vector<LayerPart> parts = {random_part(2, 1, 1, 1.5), random_part(4, -0.7, 3),
                                        random_part(3, 0.4, 5, -2)};
  for (const Combination type : every_type) {
    if (!prunes(type))
      continue;
    for (const double density : {0.2, 0.55, 1.0}) {
      for (const MajoritySign method : {MajoritySign::total, MajoritySign::frequency}) {
        CAPTURE(name(type));
        CAPTURE(density);
        CAPTURE(name(method));
        CombineOptions options = options_for(type, density);
        options.majority_sign_method = method;
        options.seed = 3;
        const CombinedLayer whole = combine(parts, options, 9, "x");  // of every rank there is
        const Tensor change = product(whole.factors);
        CHECK(whole.discarded <= 1e-12 * whole.energy);
        if (!draws(type))
          CHECK(relative_error(change, pruned_change(parts, options)) < 1e-6);
        for (const int64_t rank : {1, 2, 5}) {
          const CombinedLayer layer = combine(parts, options, rank, "x");
          const double lost = ops::sum_of_squares(ops::add(change, product(layer.factors), -1));
          CHECK(layer.energy == doctest::Approx(ops::sum_of_squares(change)).epsilon(1e-5));
          CHECK(layer.discarded == doctest::Approx(lost).epsilon(1e-4));
          CHECK(lost ==
                doctest::Approx(compress(change, rank, Svd::exact).discarded).epsilon(1e-4));
        }
      }
    }
  }
}

TEST_CASE("combine: of a large layer, too, whose singular values are found in part") {
  std::vector<LayerPart> parts;
  for (const int64_t r : {2, 6, 3})
    parts.push_back({.factors = {.a = random_tensor({r, 160}, static_cast<uint64_t>(r)),
                                 .b = random_tensor({200, r}, static_cast<uint64_t>(r) + 20)},
                     .weight = r == 6 ? -0.5 : 1});
  for (const Combination type :
       {Combination::ties, Combination::dare_ties, Combination::magnitude_prune}) {
    CAPTURE(name(type));
    CombineOptions options = options_for(type, 0.4);
    options.seed = 5;
    const Tensor change = product(combine(parts, options, 160, "x").factors);
    const CombinedLayer layer = combine(parts, options, 4, "x");
    const double lost = ops::sum_of_squares(ops::add(change, product(layer.factors), -1));
    CHECK(layer.energy == doctest::Approx(ops::sum_of_squares(change)).epsilon(1e-5));
    CHECK(layer.discarded == doctest::Approx(lost).epsilon(1e-4));
  }
}

TEST_CASE("combine: the fast singular values are near the exact ones, on a flat spectrum too") {
  const Tensor flat = random_tensor({300, 400}, 3);
  const Tensor steep =
      ops::add(product({random_tensor({6, 400}, 4), random_tensor({300, 6}, 5)}), flat, 0.05);
  for (const Tensor& matrix : {flat, steep}) {
    const Approximation exact = compress(matrix, 8, Svd::exact);
    const Approximation fast = compress(matrix, 8, Svd::fast);
    CHECK(fast.discarded >= exact.discarded * (1 - 1e-9));
    CHECK(fast.discarded < 1.005 * exact.discarded);  // 1.0025 on the flat one
    const double lost = ops::sum_of_squares(ops::add(matrix, product(fast.factors), -1));
    CHECK(fast.discarded == doctest::Approx(lost).epsilon(1e-5));
  }
}

TEST_CASE("combine: by default a negative weight votes for the opposite") {
  const auto part = [](double value, double weight) {
    return LayerPart{.factors = {.a = numbers({value}, {1, 1}), .b = numbers({1}, {1, 1})},
                     .weight = weight};
  };
  CombineOptions options{.combination_type = Combination::ties, .density = 1};
  // 3 and -1 · 2: the values vote for +, and so do both weighted ones but the second.
  const auto change = [&](const std::vector<LayerPart>& parts) {
    return product(combine(parts, options, 1, "x").factors).item();
  };
  CHECK(change({part(3, 1), part(2, -1)}) == doctest::Approx(3));
  CHECK(change({part(3, -1), part(2, 1), part(4, -1)}) == doctest::Approx(-3.5));
}

TEST_CASE("combine: factors are clipped at the quantile of their magnitudes") {
  const std::vector<LayerPart> parts = {
      {.factors = {.a = numbers({1, -2, 3, -4}, {1, 4}), .b = numbers({10}, {1, 1})}}};
  CombineOptions options{.combination_type = Combination::svd, .svd_clamp = 0.5};
  const Factors clipped = combine(parts, options, 1, "x").factors;
  CHECK(clipped.a.to_vector() == std::vector<double>{1, -2, 3, -3});
  CHECK(clipped.b.item() == 3);
  options.svd_clamp = 1;
  CHECK(combine(parts, options, 1, "x").factors.b.item() == 10);
}

TEST_CASE("combine: options that are missing, out of range or of no use are refused") {
  const auto refused = [](CombineOptions options) {
    return message_of<ConfigError>([&] { validate(options); });
  };
  check_contains(refused({.combination_type = Combination::ties}),
                 "combine: ties prunes, and density is not given");
  check_contains(refused({.combination_type = Combination::svd, .density = 0.5}),
                 "density is given, but svd does not prune");
  for (const double density : {0.0, -1.0, 1.5, std::nan("")})
    check_contains(refused({.combination_type = Combination::dare_linear, .density = density}),
                   "a number above 0 and up to 1 expected");
  check_contains(refused({.combination_type = Combination::cat, .svd_rank = 4}),
                 "cat adds the ranks of the adapters up");
  check_contains(refused({.svd_rank = 0}), "svd_rank is 0, at least 1 expected");
  check_contains(refused({.svd_clamp = 1.5}), "svd_clamp is 1.5");
  check_contains(message_of<ConfigError>([] { parse_combination("tie"); }),
                 "combination_type is \"tie\" (did you mean 'ties'?); there are: linear, cat, svd");
  check_contains(message_of<ConfigError>([] { parse_majority_sign("most"); }),
                 "majority_sign_method is \"most\", total or frequency expected");
  for (const Combination type : every_type) {
    CHECK(parse_combination(name(type)) == type);
    validate(options_for(type));
  }
}

}  // namespace graft::peft
