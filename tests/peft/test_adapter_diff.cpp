#include <cmath>
#include <map>

#include "graft/peft/adapter_diff.h"
#include "graft/peft/factors.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::matcher, test::message_of, test::random_tensor;

AdapterFiles adapter(std::vector<std::pair<std::string, AdapterLayer>> layers, double alpha = 8) {
  AdapterFiles result{.config = {.r = 4, .lora_alpha = alpha}, .file = "made up"};
  for (auto& [path, layer] : layers)
    result.layers.emplace(path, std::move(layer));
  return result;
}

AdapterLayer layer(int64_t out, int64_t in, int64_t r, uint64_t seed) {
  return {.a = random_tensor({r, in}, 2 * seed), .b = random_tensor({out, r}, 2 * seed + 1)};
}

/// The change itself, (out, in) in f64.
Tensor change_of(const AdapterFiles& adapter, const std::string& path) {
  const AdapterLayer& layer = adapter.layers.at(path);
  const double scale = scaling_of(adapter.config, path, layer.a.dim(0), matcher());
  return ops::scale(ops::matmul(layer.b.to(DType::f64), layer.a.to(DType::f64)), scale);
}

double dot(const Tensor& x, const Tensor& y) {
  const auto xs = x.to_vector(), ys = y.to_vector();
  double sum = 0;
  for (size_t i = 0; i < xs.size(); ++i)
    sum += xs[i] * ys[i];
  return sum;
}

double norm(const Tensor& x) {
  return std::sqrt(dot(x, x));
}

AdapterDiff diff(const AdapterFiles& a, const AdapterFiles* b = nullptr) {
  return diff_adapters(a, b, matcher());
}

}  // namespace

TEST_CASE("diff_adapters: norms, product and ranks are those of the matrices themselves") {
  const AdapterFiles a = adapter({{"x", layer(30, 20, 4, 1)}, {"y", layer(12, 12, 2, 2)}});
  const AdapterFiles b = adapter({{"x", layer(30, 20, 7, 3)}, {"z", layer(5, 9, 3, 4)}}, 5);
  const AdapterDiff found = diff(a, &b);
  REQUIRE(found.layers.size() == 3);
  const LayerDiff& x = found.layers[0];
  const Tensor one = change_of(a, "x"), other = change_of(b, "x");
  CHECK(x.a->norm == doctest::Approx(norm(one)).epsilon(1e-12));
  CHECK(x.b->norm == doctest::Approx(norm(other)).epsilon(1e-12));
  CHECK(x.difference == doctest::Approx(norm(ops::add(one, ops::scale(other, -1)))).epsilon(1e-12));
  CHECK(*x.cosine() == doctest::Approx(dot(one, other) / norm(one) / norm(other)).epsilon(1e-12));
  CHECK(x.b->rank == 7);
  CHECK(x.b->effective_rank ==
        doctest::Approx(effective_rank(ops::svd(other).s.to_vector())).epsilon(1e-6));
  CHECK(!found.layers[1].b);
  CHECK(!found.layers[1].cosine());
  CHECK(found.layers[1].difference == found.layers[1].a->norm);
  CHECK(found.layers[2].path == "z");
  CHECK(found.total.a->norm ==
        doctest::Approx(std::hypot(norm(one), norm(change_of(a, "y")))).epsilon(1e-12));
  CHECK(
      *found.total.cosine() ==
      doctest::Approx(dot(one, other) / found.total.a->norm / found.total.b->norm).epsilon(1e-12));
}

TEST_CASE("diff_adapters: what does not change the product changes nothing") {
  const AdapterFiles a = adapter({{"x", layer(16, 24, 4, 5)}});
  AdapterFiles b = a;
  // Twice A and half of B, and ranks of nothing.
  AdapterLayer& other = b.layers.at("x");
  const Factors wider = padded({.a = ops::scale(other.a, 2), .b = ops::scale(other.b, 0.5)}, 8);
  other = {.a = wider.a, .b = wider.b};
  b.config.lora_alpha = 16;  // for rank 8
  const AdapterDiff found = diff(a, &b);
  CHECK(*found.layers[0].cosine() == doctest::Approx(1).epsilon(1e-12));
  CHECK(found.layers[0].difference < 1e-13 * found.layers[0].a->norm);  // f64's rounding
  CHECK(found.layers[0].a->effective_rank ==
        doctest::Approx(found.layers[0].b->effective_rank).epsilon(1e-6));
  other.b = ops::scale(other.b, -1);
  CHECK(*diff(a, &b).layers[0].cosine() == doctest::Approx(-1).epsilon(1e-12));
}

TEST_CASE("effective_rank: one direction is 1, r equal ones are r, none is 0") {
  CHECK(effective_rank({3, 0, 0}) == doctest::Approx(1));
  CHECK(effective_rank({2, 2, 2, 2}) == doctest::Approx(4));
  CHECK(effective_rank({0, 0}) == 0);
  CHECK(effective_rank({}) == 0);
  // p = 3/4, 1/4: e^(3/4 ln 4/3 + 1/4 ln 4)
  CHECK(effective_rank({3, 1}) == doctest::Approx(std::pow(4.0 / 3, 0.75) * std::pow(4.0, 0.25)));
}

TEST_CASE("diff_adapters: one adapter alone, a zero one, a broken one, one of another model") {
  AdapterFiles a = adapter({{"x", layer(6, 8, 2, 6)}});
  const AdapterDiff alone = diff(a);
  CHECK(alone.layers[0].a->norm > 0);
  CHECK(!alone.layers[0].b);
  CHECK(!alone.total.b);
  AdapterFiles zero = a;
  zero.layers.at("x").b = Tensor::zeros({6, 2});
  const AdapterDiff nothing = diff(a, &zero);
  CHECK(nothing.layers[0].b->norm == 0);
  CHECK(nothing.layers[0].b->effective_rank == 0);
  CHECK(!nothing.layers[0].cosine());
  const AdapterFiles wide = adapter({{"x", layer(6, 9, 2, 6)}});
  check_contains(message_of<ConfigError>([&] { diff(a, &wide); }),
                 "x is (6,8) for one and (6,9) for the other");
  a.layers.at("x").a.data<float>()[3] = NAN;
  check_contains(message_of<NonFiniteError>([&] { diff(a); }), "a number at x is NaN");
}

namespace {

/// A model with a DoRA on an embedding and a linear layer, and a PiSSA, both moved from their
/// start.
struct Variants {
  std::unique_ptr<nn::CausalLM> base = test::tiny_llama(1);
  PeftModel model{*base,
                  {.r = 2, .target_modules = {"embed_tokens", "q_proj"}, .use_dora = true},
                  "dora",
                  {.matcher = matcher()}};

  Variants() {
    model.add_adapter("pissa", {.r = 3,
                                .target_modules = {"q_proj", "down_proj"},
                                .lora_alpha = 4,
                                .init_lora_weights = LoraInit::pissa});
    model.set_requires_grad({"dora", "pissa"});
    test::perturb(model);
  }
};

std::map<std::string, Tensor> weights_of(nn::CausalLM& model) {
  std::map<std::string, Tensor> weights;
  for (const nn::NamedMember& parameter : nn::named_parameters(model))
    weights[parameter.path] = parameter.member->value().to(DType::f64);
  return weights;
}

/// What merging an adapter changes of each weight.
std::map<std::string, Tensor> changes_by(const std::string& adapter) {
  Variants merged;
  std::map<std::string, Tensor> weights = weights_of(merged.model.merge_and_unload({adapter}));
  for (const auto& [path, before] : weights_of(*test::tiny_llama(1)))
    weights.at(path) = ops::add(weights.at(path), before, -1);
  return weights;
}

}  // namespace

TEST_CASE("diff_adapters: on a model, variants change what merging them changes") {
  Variants variants;
  const AdapterDiff found = diff_adapters(*variants.base, {"dora", "pissa"});
  const auto dora = changes_by("dora"), pissa = changes_by("pissa");
  REQUIRE(found.layers.size() == 3);
  double a = 0, b = 0, apart = 0, product = 0;
  for (const LayerDiff& layer : found.layers) {
    CAPTURE(layer.path);
    const Tensor of_a = dora.at(layer.path + ".weight"), of_b = pissa.at(layer.path + ".weight");
    const Tensor difference = ops::add(of_a, of_b, -1);
    // Merging rounds to f32.
    CHECK((layer.a ? layer.a->norm : 0) == doctest::Approx(norm(of_a)).epsilon(1e-5));
    CHECK((layer.b ? layer.b->norm : 0) == doctest::Approx(norm(of_b)).epsilon(1e-5));
    CHECK(layer.difference == doctest::Approx(norm(difference)).epsilon(1e-5));
    CHECK(layer.product == doctest::Approx(dot(of_a, of_b)).epsilon(1e-5));
    a += dot(of_a, of_a);
    b += dot(of_b, of_b);
    apart += dot(difference, difference);
    product += dot(of_a, of_b);
  }
  CHECK(found.total.a->norm == doctest::Approx(std::sqrt(a)).epsilon(1e-5));
  CHECK(found.total.difference == doctest::Approx(std::sqrt(apart)).epsilon(1e-5));
  CHECK(*found.total.cosine() == doctest::Approx(product / std::sqrt(a * b)).epsilon(1e-5));
  const LayerDiff& q_proj = found.layers[2];
  REQUIRE(q_proj.path == "model.layers.0.self_attn.q_proj");
  CHECK(q_proj.a->rank == 0);  // a change by DoRA has no factors
  CHECK(q_proj.b->rank == 6);  // B A, and what was taken out
  CHECK(q_proj.b->effective_rank ==
        doctest::Approx(effective_rank(ops::svd(pissa.at(q_proj.path + ".weight")).s.to_vector()))
            .epsilon(1e-5));
  CHECK(diff_adapters(*variants.base, {"pissa"}).layers.size() == 2);
}

TEST_CASE("diff_adapters: what depends on the model is refused without it") {
  const AdapterFiles plain = adapter({{"x", layer(6, 8, 2, 6)}});
  AdapterFiles variant = plain;
  const auto refused = [&](const char* setting) {
    for (const bool is_first : {true, false})
      check_contains(message_of<ConfigError>([&] {
                       diff_adapters(is_first ? variant : plain, is_first ? &plain : &variant,
                                     matcher());
                     }),
                     concat("was made with ", setting, ", and what it changes depends on"));
  };
  variant.config.use_dora = true;
  refused("use_dora");
  variant.config = {.init_lora_weights = LoraInit::pissa, .pissa_niter = 4};
  refused("pissa_niter_4");
  variant.config = {.ensure_weight_tying = true};
  refused("ensure_weight_tying");
}

}  // namespace graft::peft
