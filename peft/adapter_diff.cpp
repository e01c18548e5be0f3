#include "graft/peft/adapter_diff.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "graft/peft/factors.h"
#include "graft/peft/site_delta.h"
#include "graft/tensor/error.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"

namespace graft::peft {
namespace {

/// Δ of a layer in f64, as a product or else whole; neither where the adapter is not on it.
struct Change {
  Factors factors{};
  Tensor whole{};

  bool is_product() const { return factors.a.defined(); }
  bool is_there() const { return is_product() || whole.defined(); }
  int64_t rows() const { return is_product() ? factors.b.dim(0) : whole.dim(0); }
  int64_t columns() const { return is_product() ? factors.a.dim(1) : whole.dim(1); }
  Tensor matrix() const { return is_product() ? product(factors) : whole; }
};

Change change_of(const Delta& delta) {
  if (delta.weight.defined())
    return {.whole = delta.weight.to(DType::f64)};
  if (!delta.a.defined())
    return {};
  return {.factors = {.a = ops::scale(delta.a.to(DType::f64).contiguous(), delta.scale),
                      .b = delta.b.to(DType::f64).contiguous()}};
}

Change change_of(const AdapterFiles* adapter, const std::string& path,
                 const RegexMatcher& matcher) {
  if (adapter == nullptr)
    return {};
  const auto layer = adapter->layers.find(path);
  if (layer == adapter->layers.end())
    return {};
  const AdapterLayer& found = layer->second;
  return change_of(Delta{.a = found.a,
                         .b = found.b,
                         .scale = scaling_of(adapter->config, path, found.a.dim(0), matcher)});
}

void check_finite(const Change& change, const std::string& adapter, const std::string& path) {
  for (const Tensor& part : {change.factors.a, change.factors.b, change.whole})
    GRAFT_CHECK(!part.defined() || ops::all_finite(part), NonFiniteError, "diff: ", adapter,
                ": a number at ", path, " is NaN or infinite; the adapter is broken");
}

double sum_of_products(const Tensor& x, const Tensor& y) {
  const auto xs = x.span<double>(), ys = y.span<double>();
  double sum = 0;
  for (size_t i = 0; i < xs.size(); ++i)
    sum += xs[i] * ys[i];
  return sum;
}

/// Σ Δx ∘ Δy, which of products is Σ (Bxᵀ By) ∘ (Ax Ayᵀ).
double inner_product(const Change& x, const Change& y) {
  if (!x.is_product() || !y.is_product())
    return sum_of_products(x.matrix(), y.matrix());
  return sum_of_products(ops::matmul(x.factors.b.transpose(0, 1).contiguous(), y.factors.b),
                         ops::matmul(x.factors.a, y.factors.a.transpose(0, 1).contiguous()));
}

/// ‖Δx - Δy‖²
double squared_distance(const Change& x, const Change& y) {
  if (!x.is_product() || !y.is_product())
    return ops::sum_of_squares(ops::add(x.matrix(), y.matrix(), -1));
  // Not by the inner products, of which rounding leaves half of the digits.
  const Factors apart =
      side_by_side({x.factors, {.a = ops::scale(y.factors.a, -1), .b = y.factors.b}});
  return compress(apart, apart.a.dim(0)).energy;
}

std::optional<ChangeSize> size_of(const Change& change) {
  if (!change.is_there())
    return std::nullopt;
  if (!change.is_product())
    return ChangeSize{.norm = std::sqrt(ops::sum_of_squares(change.whole))};
  const int64_t rank = change.factors.a.dim(0);
  const Approximation whole = compress(change.factors, rank);
  return ChangeSize{.norm = std::sqrt(whole.energy),
                    .rank = rank,
                    .effective_rank = effective_rank(whole.singular_values)};
}

LayerDiff diff_layer(const std::string& path, const Change& a, const Change& b) {
  LayerDiff layer{.path = path, .a = size_of(a), .b = size_of(b)};
  if (layer.a && layer.b) {
    GRAFT_CHECK(a.columns() == b.columns() && a.rows() == b.rows(), ConfigError,
                "diff: the adapters are for different models: ", path, " is (", a.rows(), ",",
                a.columns(), ") for one and (", b.rows(), ",", b.columns(), ") for the other");
    layer.product = inner_product(a, b);
    layer.difference = std::sqrt(squared_distance(a, b));
  } else {
    layer.difference = layer.a ? layer.a->norm : layer.b->norm;
  }
  return layer;
}

void add(AdapterDiff& diff, const std::string& path, const Change& a, const Change& b) {
  const LayerDiff& layer = diff.layers.emplace_back(diff_layer(path, a, b));
  const auto add_up = [](std::optional<ChangeSize>& sum, const std::optional<ChangeSize>& part) {
    if (part)
      sum = ChangeSize{.norm = std::hypot(sum ? sum->norm : 0.0, part->norm)};
  };
  add_up(diff.total.a, layer.a);
  add_up(diff.total.b, layer.b);
  diff.total.product += layer.product;
  diff.total.difference = std::hypot(diff.total.difference, layer.difference);
}

}  // namespace

std::optional<double> LayerDiff::cosine() const {
  if (!a || !b || !(a->norm > 0) || !(b->norm > 0))
    return std::nullopt;
  return std::clamp(product / (a->norm * b->norm), -1.0, 1.0);
}

double effective_rank(const std::vector<double>& singular_values) {
  double sum = 0;
  for (const double value : singular_values)
    sum += value;
  if (!(sum > 0))
    return 0;
  double entropy = 0;
  for (const double value : singular_values)
    if (value > 0)
      entropy -= value / sum * std::log(value / sum);
  return std::exp(entropy);
}

AdapterDiff diff_adapters(const AdapterFiles& a, const AdapterFiles* b,
                          const RegexMatcher& matcher) {
  std::set<std::string> paths;
  for (const AdapterFiles* adapter : {&a, b}) {
    if (adapter == nullptr)
      continue;
    const std::string setting = setting_that_needs_model(adapter->config);
    GRAFT_CHECK(setting.empty(), ConfigError, "diff: ", adapter->file,
                ": the adapter was made with ", setting,
                ", and what it changes depends on the model; give that (--model)");
    for (const auto& [path, layer] : adapter->layers)
      paths.insert(path);
  }
  AdapterDiff diff;
  for (const std::string& path : paths) {
    const Change of_a = change_of(&a, path, matcher), of_b = change_of(b, path, matcher);
    check_finite(of_a, a.file, path);
    check_finite(of_b, b == nullptr ? "" : b->file, path);
    add(diff, path, of_a, of_b);
  }
  return diff;
}

AdapterDiff diff_adapters(nn::CausalLM& base, const std::vector<std::string>& names) {
  GRAFT_CHECK(names.size() == 1 || names.size() == 2, ConfigError, "diff: ", names.size(),
              " adapters are given, one or two expected");
  std::map<std::string, Site> sites;
  for (const Site& site : sites_of(base))
    sites.emplace(site.path, site);
  AdapterDiff diff;
  for (const auto& [path, site] : sites) {
    std::vector<Change> changes(2);
    for (size_t i = 0; i < names.size(); ++i) {
      changes[i] = change_of(delta_at(site, names[i]));
      check_finite(changes[i], concat("adapter ", names[i]), path);
    }
    if (changes[0].is_there() || changes[1].is_there())
      add(diff, path, changes[0], changes[1]);
  }
  return diff;
}

}  // namespace graft::peft
