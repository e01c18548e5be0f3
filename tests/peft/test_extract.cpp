// Extraction of adapters from models that were trained as a whole.

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "graft/models/save.h"
#include "graft/peft/adapter_layers.h"
#include "graft/peft/extract.h"
#include "graft/peft/factors.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/columns.h"
#include "graft/tensor/linalg.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::matcher, test::message_of, test::random_tensor;

double energy_of(const Tensor& x) {
  return ops::sum_of_squares(x);
}

/// (rows, columns) f64 with these singular values.
Tensor with_values(int64_t rows, int64_t columns, const std::vector<double>& values) {
  const int64_t k = std::ssize(values);
  const Tensor u = ops::qr(random_tensor({rows, k}, 1, DType::f64)).q;
  const Tensor v = ops::qr(random_tensor({columns, k}, 2, DType::f64)).q;
  return ops::matmul(ops::scale_columns(u, Tensor::from(values, {k})), v.transpose(0, 1));
}

/// Adds numbers of this size to all parameters whose paths `wanted` accepts.
void train(nn::CausalLM& model, const std::function<bool(const std::string& path)>& wanted,
           double size = 0.05) {
  uint64_t seed = 40;
  for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
    ++seed;
    if (!wanted(parameter.path))
      continue;
    const Tensor value = parameter.member->value();
    parameter.member->load(
        ops::add(value, random_tensor(value.shape(), seed, value.dtype()), size));
  }
}

nn::Member& parameter(nn::CausalLM& model, const std::string& path) {
  const auto parameters = nn::named_parameters(model);
  const auto found = std::ranges::find(parameters, path, &nn::NamedMember::path);
  REQUIRE(found != parameters.end());
  return *found->member;
}

/// In f64.
Tensor value_of(nn::CausalLM& model, const std::string& path) {
  return parameter(model, path).value().to(DType::f64);
}

bool is_projection(const std::string& path) {
  return path.find("_proj.") != std::string::npos;
}

bool is_anything(const std::string&) {
  return true;
}

Extraction extract(nn::CausalLM& base, nn::CausalLM& tuned, ExtractOptions options) {
  options.matcher = matcher();
  return extract_lora(base, tuned, options);
}

/// How far the logits of base and adapter, read from its files, are from the tuned model's.
double distance(nn::CausalLM& base, const nn::CausalLM& tuned, const Extraction& found) {
  const test::TemporaryFolder folder;
  found.save(folder.path());
  const PeftModel adapted =
      PeftModel::from_pretrained(base, folder.path(), "x", false, {.matcher = matcher()});
  const Tensor ids = test::some_ids(2, 9);
  return test::relative_difference(test::logits_of(adapted, ids), test::logits_of(tuned, ids));
}

/// Sums of some dozen terms in f32, in another order.
constexpr double f32_rounding = 2e-5;

/// A model before and after.
struct Tuned {
  std::unique_ptr<nn::CausalLM> base, tuned;

  explicit Tuned(const std::function<bool(const std::string& path)>& wanted, bool is_tied = false)
      : base(test::tiny_llama(2, is_tied)), tuned(test::tiny_llama(2, is_tied)) {
    train(*tuned, wanted);
  }
};

std::vector<std::string> paths_of(const Extraction& found) {
  std::vector<std::string> paths;
  for (const ExtractedLayer& layer : found.layers)
    paths.push_back(layer.path);
  return paths;
}

}  // namespace

TEST_CASE("compress_to_share: the smallest rank that keeps the share") {
  // Energies 16, 9, 4, 1 of 30.
  const Tensor x = with_values(9, 6, {4, 3, 2, 1, 0, 0});
  const auto rank = [&](double share, int64_t most = 6) {
    return compress_to_share(x, share, most, Svd::exact).factors.a.dim(0);
  };
  CHECK(rank(16 / 30.0 - 1e-9) == 1);
  CHECK(rank(16 / 30.0 + 1e-9) == 2);
  CHECK(rank(29 / 30.0 - 1e-9) == 3);
  CHECK(rank(29 / 30.0 + 1e-9) == 4);
  CHECK(rank(1) == 4);  // the others are zero
  CHECK(rank(1, 2) == 2);
  CHECK(rank(0.9, 1) == 1);
  const Approximation found = compress_to_share(x, 0.9, 6, Svd::exact);
  CHECK(found.energy == doctest::Approx(30));
  CHECK(found.discarded == doctest::Approx(1));
  CHECK(found.singular_values.size() == 3);
  CHECK(compress_to_share(Tensor::zeros({3, 4}), 0.5, 2, Svd::fast).factors.a.dim(0) == 1);
}

TEST_CASE("compress_to_share: fast comes near exact, and says what it really discards") {
  std::vector<double> falling(300);
  for (size_t i = 0; i < falling.size(); ++i)
    falling[i] = 1 / std::sqrt(1.0 + static_cast<double>(i));
  // Random numbers have the flattest spectrum: no direction stands out.
  for (const Tensor& x :
       {with_values(310, 300, falling), random_tensor({300, 310}, 3, DType::f64)}) {
    for (const auto& [share, most] : {std::pair(1.0, 59), {1.0, 20}, {0.15, 20}}) {
      CAPTURE(share);
      CAPTURE(most);
      const Approximation exact = compress_to_share(x, share, most, Svd::exact);
      const Approximation fast = compress_to_share(x, share, most, Svd::fast);
      CHECK(!test::same_bits(exact.factors.a, fast.factors.a));
      CHECK(fast.factors.a.dim(0) >= exact.factors.a.dim(0));
      CHECK(fast.factors.a.dim(0) <= exact.factors.a.dim(0) + 1);
      const double measured = energy_of(ops::add(x, product(fast.factors), -1));
      CHECK(fast.discarded == doctest::Approx(measured).epsilon(1e-10));
      const Approximation best = compress(x, fast.factors.a.dim(0), Svd::exact);
      CHECK(fast.discarded <= 1.01 * best.discarded);
      CHECK(fast.discarded >= (1 - 1e-12) * best.discarded);
    }
  }
}

TEST_CASE("compress_to_share: where a first guess is too low, more values are found") {
  std::vector<double> falling(330);
  for (size_t i = 0; i < falling.size(); ++i)
    falling[i] = 1 / std::sqrt(1.0 + static_cast<double>(i));
  const Tensor x = with_values(330, 340, falling);
  const Approximation exact = compress_to_share(x, 0.8, 330, Svd::exact);
  CHECK(exact.factors.a.dim(0) > 64);
  const Approximation fast = compress_to_share(x, 0.8, 330, Svd::fast);
  CHECK(fast.factors.a.dim(0) == exact.factors.a.dim(0));
}

TEST_CASE("extract: at full rank base and adapter are the tuned model") {
  const Tuned models(is_projection);
  const Extraction found = extract(*models.base, *models.tuned, {.energy = 1});
  CHECK(found.layers.size() == 14);
  CHECK(found.others.empty());
  CHECK(found.kept() == doctest::Approx(1).epsilon(1e-12));
  CHECK(distance(*models.base, *models.tuned, found) < f32_rounding);
  CHECK(test::relative_difference(test::logits_of(*models.base, test::some_ids(2, 9)),
                                  test::logits_of(*models.tuned, test::some_ids(2, 9))) > 1e-2);
}

TEST_CASE("extract: what is said of a layer is what its matrices have") {
  const Tuned models(is_projection);
  const Extraction found = extract(*models.base, *models.tuned, {.rank = 3});
  std::map<std::string, Tensor> tensors;
  for (const io::NamedTensor& tensor : found.tensors)
    tensors[tensor.name] = tensor.tensor.to(DType::f64);
  double energy = 0, discarded = 0;
  for (const ExtractedLayer& layer : found.layers) {
    CAPTURE(layer.path);
    const Tensor before = value_of(*models.base, layer.path + ".weight");
    const Tensor change = ops::add(value_of(*models.tuned, layer.path + ".weight"), before, -1);
    const std::string key = "base_model.model." + layer.path;
    const Tensor& a = tensors.at(key + ".lora_A.weight");
    const Tensor& b = tensors.at(key + ".lora_B.weight");
    CHECK(a.shape() == Shape{3, change.dim(1)});
    CHECK(layer.rank == 3);
    // The difference of f32 numbers is rounded once, and so are the factors.
    CHECK(layer.norm == doctest::Approx(std::sqrt(energy_of(change))).epsilon(1e-6));
    CHECK(layer.weight_norm == doctest::Approx(std::sqrt(energy_of(before))).epsilon(1e-6));
    CHECK(layer.energy == doctest::Approx(energy_of(change)).epsilon(1e-6));
    const double measured = energy_of(ops::add(change, ops::matmul(b, a), -1));
    CHECK(layer.discarded == doctest::Approx(measured).epsilon(1e-5));
    const std::vector<double> values = ops::svd(change).s.to_vector();
    double least = 0;  // of all matrices of rank 3
    for (size_t i = 3; i < values.size(); ++i)
      least += values[i] * values[i];
    CHECK(layer.discarded == doctest::Approx(least).epsilon(1e-5));
    energy += energy_of(change);
    discarded += measured;
  }
  CHECK(found.kept() == doctest::Approx(1 - discarded / energy).epsilon(1e-6));
  CHECK(found.config.r == 3);
  CHECK(found.config.lora_alpha == 3);
  CHECK(found.config.rank_pattern.empty());
}

TEST_CASE("extract: by energy, each layer has the rank it needs, and the files say so") {
  const Tuned models(is_projection);
  const Extraction found = extract(*models.base, *models.tuned, {.energy = 0.9});
  CHECK(!found.config.rank_pattern.empty());
  CHECK(found.config.rank_pattern.size() == found.config.alpha_pattern.size());
  int64_t least = 100, most = 0;
  for (const ExtractedLayer& layer : found.layers) {
    CHECK(layer.kept() >= 0.9);
    least = std::min(least, layer.rank);
    most = std::max(most, layer.rank);
    CHECK(pattern_value(found.config.rank_pattern, layer.path, found.config.r, matcher()) ==
          layer.rank);
    CHECK(scaling_of(found.config, layer.path, layer.rank, matcher()) == 1);
  }
  CHECK(least < most);
  // What is left out of the weights is a tenth of the energy, so a third of their change.
  const double off = distance(*models.base, *models.tuned, found);
  CHECK(off > 1e-3);
  const Extraction bounded = extract(*models.base, *models.tuned, {.energy = 0.9, .max_rank = 4});
  for (const ExtractedLayer& layer : bounded.layers)
    CHECK(layer.rank == 4);
  CHECK(distance(*models.base, *models.tuned, bounded) > off);
}

TEST_CASE("extract: a change of a lower rank than asked for gets no more, and none is left out") {
  const Tuned models([](const std::string&) { return false; });
  const std::string path = "model.layers.0.self_attn.q_proj";
  Tensor value = parameter(*models.base, path + ".weight").value().clone();
  for (float& x : value.span<float>())
    x = std::round(8 * x) / 8;  // so that sums and differences are exact
  parameter(*models.base, path + ".weight").load(value.clone());
  for (int64_t row = 0; row < 4; ++row)
    value.data<float>()[row * value.dim(1)] += 0.5F * static_cast<float>(row + 1);
  parameter(*models.tuned, path + ".weight").load(value);
  const Extraction found = extract(*models.base, *models.tuned, {.rank = 5});
  CHECK(paths_of(found) == std::vector<std::string>{path});
  CHECK(found.layers[0].rank == 1);
  CHECK(found.layers[0].kept() == doctest::Approx(1).epsilon(1e-12));
  CHECK(found.config.target_modules.names() == std::vector<std::string>{"0.self_attn.q_proj"});
  CHECK(found.config.lora_alpha == 1);
  CHECK(distance(*models.base, *models.tuned, found) < f32_rounding);
}

TEST_CASE("extract: what is not adapted is listed, or kept as copies") {
  const Tuned models(is_anything);
  const Extraction partial = extract(*models.base, *models.tuned, {.energy = 1});
  CHECK(partial.others.size() == 7);  // embedding, head, two norms in each layer, the last norm
  double rest = 0, all = 0;
  for (const OtherChange& other : partial.others) {
    CHECK(!other.is_saved);
    rest += other.norm * other.norm;
    const Tensor before = value_of(*models.base, other.path);
    const Tensor change = ops::add(value_of(*models.tuned, other.path), before, -1);
    CHECK(other.norm == doctest::Approx(std::sqrt(energy_of(change))).epsilon(1e-6));
    CHECK(other.weight_norm == doctest::Approx(std::sqrt(energy_of(before))).epsilon(1e-6));
  }
  for (const ExtractedLayer& layer : partial.layers)
    all += layer.energy;
  CHECK(partial.kept() == doctest::Approx(1 - rest / (all + rest)).epsilon(1e-9));
  CHECK(partial.norm() == doctest::Approx(std::sqrt(all + rest)).epsilon(1e-9));
  CHECK(distance(*models.base, *models.tuned, partial) > 1e-2);

  const Extraction whole = extract(*models.base, *models.tuned, {.energy = 1, .save_rest = true});
  CHECK(whole.config.modules_to_save.size() == 7);
  CHECK(whole.kept() == doctest::Approx(1).epsilon(1e-12));
  CHECK(distance(*models.base, *models.tuned, whole) < f32_rounding);
}

TEST_CASE("extract: embedding and head, in one matrix or two") {
  const auto check = [](nn::CausalLM& base, nn::CausalLM& tuned, const ExtractOptions& options,
                        bool is_one) {
    const Extraction found = extract(base, tuned, options);
    CHECK(found.config.ensure_weight_tying == is_one);
    CHECK(distance(base, tuned, found) < f32_rounding);
  };
  const ExtractOptions saved{.energy = 1, .save_rest = true};
  const auto adapted = [](const Targets& targets) {
    return ExtractOptions{.target_modules = targets, .energy = 1, .save_rest = true};
  };
  const Targets both{"embed_tokens", "lm_head"}, embedding{"embed_tokens"}, head{"lm_head"};
  const Tuned one(is_anything, true), two(is_anything);
  for (const Targets& targets : {both, embedding, head}) {
    CAPTURE(targets);
    check(*one.base, *one.tuned, adapted(targets), true);
    check(*two.base, *two.tuned, adapted(targets), false);
  }
  check(*one.base, *one.tuned, saved, true);
  check(*one.base, *two.tuned, saved, false);
  check(*one.base, *two.tuned, adapted(both), false);
  check(*two.base, *one.tuned, adapted(both), false);
}

TEST_CASE("extract: GPT-2, whose files hold weights transposed, and models with biases") {
  for (const std::string name : {"families/gpt2", "models/biases", "families/gemma3"}) {
    CAPTURE(name);
    const auto base = models::load(test::golden(name)), tuned = models::load(test::golden(name));
    train(*tuned, is_anything);
    for (const bool streamed : {false, true}) {
      const auto before = models::load(test::golden(name), {.streamed = streamed});
      const Extraction found = extract(*before, *tuned, {.energy = 1, .save_rest = true});
      CHECK(found.config.fan_in_fan_out == (name == "families/gpt2"));
      CHECK(distance(*base, *tuned, found) < f32_rounding);
    }
  }
  const auto base = models::load(test::golden("families/gpt2"));
  const auto tuned = models::load(test::golden("families/gpt2"));
  train(*tuned, is_anything);
  for (const char* end : {"wte", "lm_head"}) {
    const Extraction found =
        extract(*base, *tuned, {.target_modules = {"c_attn", end}, .energy = 1, .save_rest = true});
    CHECK(found.config.ensure_weight_tying);
    CHECK(distance(*base, *tuned, found) < f32_rounding);
  }
}

TEST_CASE("extract: of streamed models one matrix at a time is held, however many there are") {
  int64_t taken[2];
  for (const bool is_deep : {false, true}) {
    const test::TemporaryFolder folder;
    const auto model = test::wide_llama(is_deep ? 12 : 2, 96);
    models::save_pretrained(*model, folder / "base");
    train(*model, is_projection);
    models::save_pretrained(*model, folder / "tuned");
    const int64_t before = allocator(cpu).stats().current;
    allocator(cpu).reset_peak();
    const auto base = models::load(folder / "base", {.streamed = true});
    const auto tuned = models::load(folder / "tuned", {.streamed = true});
    extract(*base, *tuned, {.target_modules = {"q_proj", "up_proj"}, .rank = 1});
    taken[is_deep] = allocator(cpu).stats().peak - before;
  }
  // Ten layers more bring their factors and norms, of fewer than 1000 numbers a layer.
  constexpr int64_t layer = 4 * (4 * 96 * 96 + 3 * 96 * 192);
  MESSAGE(taken[0], " bytes for 2 layers, ", taken[1], " for 12; a layer has ", layer);
  CHECK(taken[0] < 4 * layer);
  CHECK(taken[1] - taken[0] < 10 * 4 * 1000);
}

TEST_CASE("extract: the models stay as they are") {
  const Tuned models(is_anything);
  const Tensor ids = test::some_ids(2, 9);
  const Tensor before = test::logits_of(*models.base, ids);
  const Tensor after = test::logits_of(*models.tuned, ids);
  extract(*models.base, *models.tuned, {.rank = 2, .save_rest = true});
  CHECK(test::same_bits(test::logits_of(*models.base, ids), before));
  CHECK(test::same_bits(test::logits_of(*models.tuned, ids), after));
}

TEST_CASE("extract: what cannot be extracted is refused") {
  const Tuned models(is_projection);
  const auto refused = [&](nn::CausalLM& base, nn::CausalLM& tuned, const ExtractOptions& options) {
    return message_of<ConfigError>([&] { extract(base, tuned, options); });
  };
  const auto with = [&](const ExtractOptions& options) {
    return refused(*models.base, *models.tuned, options);
  };
  check_contains(with({}), "none is given");
  check_contains(with({.rank = 2, .energy = 0.5}), "both are given");
  check_contains(with({.rank = 0}), "the rank is 0");
  check_contains(with({.energy = 1.5}), "1.5, above 0 and up to 1");
  check_contains(with({.rank = 2, .max_rank = 3}), "max_rank bounds");
  check_contains(with({.rank = 17}), "no targeted layer can have more than 16");
  check_contains(with({.target_modules = {"q_porj"}, .rank = 2}), "did you mean");
  check_contains(refused(*models.base, *models.base, {.rank = 2}), "nothing to extract");
  check_contains(with({.target_modules = {"lm_head"}, .rank = 2}),
                 "none of the targeted layers (lm_head) differs; what does: model.layers.0");

  const auto more_layers = test::tiny_llama(3);
  check_contains(refused(*models.base, *more_layers, {.rank = 2}),
                 "num_hidden_layers is 2 for the base and 3 for the tuned model");
  const auto more_words = test::tiny_llama(2, false, DType::f32, 35);
  check_contains(refused(*models.base, *more_words, {.rank = 2}),
                 "model.embed_tokens.weight is (32, 16) in the base and (35, 16) in the tuned "
                 "model: its vocabulary was resized");
  const auto wide = test::wide_llama(2, 32);
  check_contains(refused(*models.base, *wide, {.rank = 2}),
                 "is 8 for the base and 16 for the tuned model, which an adapter cannot");
  const auto gpt2 = models::load(test::golden("families/gpt2"));
  check_contains(refused(*models.base, *gpt2, {.rank = 2}), "of different architectures");
}

TEST_CASE("extract: a number that is NaN is named, in whichever model it is") {
  for (const bool in_base : {true, false}) {
    const Tuned models(is_projection);
    nn::Member& broken =
        parameter(in_base ? *models.base : *models.tuned, "model.layers.1.mlp.up_proj.weight");
    Tensor value = broken.value().clone();
    value.data<float>()[5] = NAN;
    broken.load(value);
    const std::string message =
        message_of<NonFiniteError>([&] { extract(*models.base, *models.tuned, {.rank = 2}); });
    check_contains(message, in_base ? "up_proj.weight of the base" : "weight of the tuned model");
  }
}

}  // namespace graft::peft
