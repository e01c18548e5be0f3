#include <array>
#include <cmath>

#include "graft/autograd/gradcheck.h"
#include "graft/autograd/pointwise.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/init.h"
#include "graft/peft/lora.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::random_linear, test::random_tensor, test::same_bits;

constexpr int64_t in = 5;
constexpr int64_t out = 4;

std::unique_ptr<Lora> make_lora(int64_t r, DType dtype, LoraOptions options = {}) {
  options.r = r;
  auto lora = std::make_unique<Lora>(in, out, options);
  lora->lora_a().load(random_tensor({r, in}, 10 + static_cast<uint64_t>(r), dtype));
  lora->lora_b().load(random_tensor({out, r}, 20 + static_cast<uint64_t>(r), dtype));
  nn::set_requires_grad(*lora, true);
  return lora;
}

/// scale · x aᵀ bᵀ
Tensor low_rank_product(const Tensor& x, Lora& lora) {
  const Tensor rows = x.view({-1, x.dim(-1)});
  const Tensor u = ops::matmul(rows, lora.lora_a().value().transpose(0, 1));
  const Tensor y = ops::matmul(u, lora.lora_b().value().transpose(0, 1));
  return ops::scale(y, lora.scaling()).view({x.dim(0), x.dim(1), out});
}

/// A kind without a low-rank term: adds a trained vector.
class Shift final : public Adapter {
 public:
  Shift() { vector_.load(random_tensor({out}, 4)); }
  Variable forward(const Variable& x, const nn::Linear& base, const nn::Context&) const override {
    const Tensor rows = Tensor::full({x.shape()[0], x.shape()[1], 1}, 1);
    return linear(Variable(rows), Variable(vector_.value().view({base.out_features(), 1})), {});
  }
  Delta delta(const nn::Linear&) const override { return {.bias = vector_.value()}; }
  Tensor vector() const { return vector_.value(); }

 private:
  nn::Parameter vector_{*this, "vector", Shape{out}};
};

}  // namespace

TEST_CASE("adapted linear: gradients of x, A and B agree with finite differences, with dropout") {
  AdaptedLinear layer(random_linear(out, in, DType::f64));
  auto lora = make_lora(3, DType::f64, {.scaling = 1.7, .dropout = 0.4, .dropout_module = 9});
  Lora& adapter = *lora;
  layer.add("default", std::move(lora));
  nn::set_requires_grad(layer.base(), false);
  const Variable x(random_tensor({2, 3, in}, 2, DType::f64), true);
  for (const nn::Context& context :
       {test::with_adapters({"default"}), test::training_with({"default"})}) {
    const GradcheckResult result = gradcheck(
        [&](const std::vector<Variable>& inputs) { return layer.forward(inputs[0], context); },
        {x, *adapter.lora_a(), *adapter.lora_b()});
    CHECK_MESSAGE(result.passed, result.message);
  }
}

TEST_CASE("adapted linear: a frozen base gets no gradient, a trained one does") {
  for (const bool trained : {false, true}) {
    AdaptedLinear layer(random_linear(out, in, DType::f32));
    layer.add("default", make_lora(2, DType::f32));
    nn::set_requires_grad(layer.base(), trained);
    const Variable x(random_tensor({2, 3, in}, 2));
    sum(layer.forward(x, test::with_adapters({"default"}))).backward();
    for (const nn::NamedMember& parameter : nn::named_parameters(layer.base()))
      CHECK(parameter.member->variable()->grad().defined() == trained);
  }
}

TEST_CASE("adapted linear: without an adapter that applies it is its base, bit for bit") {
  AdaptedLinear layer(random_linear(out, in, DType::f32));
  layer.add("default", make_lora(2, DType::f32));
  const Variable x(random_tensor({2, 3, in}, 2));
  const Tensor base = layer.base().forward(x, nn::Context()).value();
  CHECK(same_bits(layer.forward(x, nn::Context()).value(), base));
  CHECK(same_bits(layer.forward(x, test::with_adapters({})).value(), base));
  CHECK(same_bits(layer.forward(x, test::with_adapters({"other"})).value(), base));
  CHECK(!same_bits(layer.forward(x, test::with_adapters({"default"})).value(), base));
}

TEST_CASE("adapted linear: adapters add up, each with its own scale") {
  AdaptedLinear layer(random_linear(out, in, DType::f64));
  layer.add("a", make_lora(2, DType::f64, {.scaling = 2}));
  layer.add("b", make_lora(3, DType::f64, {.scaling = -0.5}));
  const Tensor x = random_tensor({2, 3, in}, 2, DType::f64);
  const Tensor base = layer.base().forward(Variable(x), nn::Context()).value();
  const Tensor a = low_rank_product(x, dynamic_cast<Lora&>(*layer.find("a")));
  const Tensor b = low_rank_product(x, dynamic_cast<Lora&>(*layer.find("b")));
  const auto difference = [&](std::vector<std::string> names, const Tensor& expected) {
    return test::max_difference(
        layer.forward(Variable(x), test::with_adapters(std::move(names))).value(), expected);
  };
  constexpr double tolerance = 1e-13;  // f64 sums over a handful of terms
  CHECK(difference({"a"}, ops::add(base, a)) < tolerance);
  CHECK(difference({"b"}, ops::add(base, b)) < tolerance);
  CHECK(difference({"a", "b"}, ops::add(ops::add(base, a), b)) < tolerance);
  CHECK(difference({"b", "a"}, ops::add(ops::add(base, a), b)) < tolerance);
}

TEST_CASE("adapted linear: an adapter that is no low-rank term adds what it computes") {
  AdaptedLinear layer(random_linear(out, in, DType::f32));
  auto shift = std::make_unique<Shift>();
  const Tensor vector = shift->vector();
  layer.add("shift", std::move(shift));
  layer.add("lora", make_lora(2, DType::f32));
  const Variable x(random_tensor({1, 1, in}, 2));
  for (std::vector<std::string> rest : {std::vector<std::string>{}, {"lora"}}) {
    const Tensor without = layer.forward(x, test::with_adapters(rest)).value();
    rest.push_back("shift");
    const Tensor shifted = layer.forward(x, test::with_adapters(rest)).value();
    CHECK(test::max_difference(shifted, ops::add(without, vector.view({1, 1, out}))) == 0);
  }
}

TEST_CASE("adapted linear: dropout needs training, and differs from layer to layer") {
  const Variable x(random_tensor({2, 3, in}, 2));
  const auto output = [&](uint32_t module, const nn::Context& context) {
    AdaptedLinear layer(random_linear(out, in, DType::f32));
    layer.add("default",
              make_lora(2, DType::f32, {.scaling = 1, .dropout = 0.5, .dropout_module = module}));
    return layer.forward(x, context).value();
  };
  const Tensor evaluated = output(1, test::with_adapters({"default"}));
  CHECK(same_bits(evaluated, output(2, test::with_adapters({"default"}))));
  CHECK(!same_bits(evaluated, output(1, test::training_with({"default"}))));
  CHECK(same_bits(output(1, test::training_with({"default"})),
                  output(1, test::training_with({"default"}))));
  CHECK(!same_bits(output(1, test::training_with({"default"})),
                   output(2, test::training_with({"default"}))));
  CHECK(dropout_module_of("model.layers.0.q_proj") != dropout_module_of("model.layers.1.q_proj"));
}

TEST_CASE("adapted linear: the base keeps its paths, adapters have theirs below their names") {
  class Block final : public nn::Module {
   public:
    nn::Child<nn::LinearLike> q_proj{*this, "q_proj", random_linear(out, in, DType::f32)};
  };
  Block block;
  block.q_proj.replace([](std::unique_ptr<nn::LinearLike> old) -> std::unique_ptr<nn::LinearLike> {
    auto layer = std::make_unique<AdaptedLinear>(
        std::unique_ptr<nn::Linear>(dynamic_cast<nn::Linear*>(old.release())));
    layer->add("my.adapter", make_lora(2, DType::f32));
    return layer;
  });
  std::vector<std::string> paths;
  for (const nn::NamedMember& parameter : nn::named_parameters(block))
    paths.push_back(parameter.path);
  CHECK(paths == std::vector<std::string>{"q_proj.weight", "q_proj.bias",
                                          "q_proj.my.adapter.lora_A.weight",
                                          "q_proj.my.adapter.lora_B.weight"});
}

TEST_CASE("adapted linear: a name can be taken once") {
  AdaptedLinear layer(random_linear(out, in, DType::f32));
  layer.add("a", make_lora(2, DType::f32));
  test::check_contains(
      test::message_of<ConfigError>([&] { layer.add("a", make_lora(2, DType::f32)); }),
      "one called \"a\" already");
  CHECK(layer.find("b") == nullptr);
}

TEST_CASE("lora init: A and B start as in PEFT") {
  constexpr int64_t width = 256;
  constexpr int64_t r = 64;
  Lora lora(width, 128, {.r = r});
  const auto moments = [](const Tensor& x) {
    double sum = 0;
    double squares = 0;
    double largest = 0;
    for (const double value : x.to_vector()) {
      sum += value;
      squares += value * value;
      largest = std::max(largest, std::fabs(value));
    }
    const auto count = static_cast<double>(x.numel());
    return std::array{sum / count, std::sqrt(squares / count), largest};
  };
  const auto check_uniform = [&](const Tensor& x, double bound) {
    const auto [mean, deviation, largest] = moments(x);
    CHECK(largest <= bound);
    CHECK(largest > 0.99 * bound);
    CHECK(std::fabs(mean) < 0.03 * bound);  // 5 standard errors of 8192 numbers
    CHECK(deviation == doctest::Approx(bound / std::sqrt(3)).epsilon(0.03));
  };
  initialize(lora, LoraInit::standard, 1, "path", DType::f32);
  check_uniform(lora.lora_a().value(), 1 / 16.0);
  CHECK(moments(lora.lora_b().value())[2] == 0);
  initialize(lora, LoraInit::random, 1, "path", DType::f32);
  check_uniform(lora.lora_a().value(), 1 / 16.0);
  check_uniform(lora.lora_b().value(), 1 / 8.0);
  initialize(lora, LoraInit::gaussian, 1, "path", DType::f32);
  const auto [mean, deviation, largest] = moments(lora.lora_a().value());
  CHECK(std::fabs(mean) < 5 / 128.0 / 64);
  CHECK(deviation == doctest::Approx(1 / 64.0).epsilon(0.03));
  CHECK(largest > 3 / 64.0);
  CHECK(moments(lora.lora_b().value())[2] == 0);
}

TEST_CASE("lora init: numbers depend on the seed and the path, and on nothing else") {
  const auto a_of = [](uint64_t seed, const char* path) {
    Lora lora(in, out, {.r = 2});
    initialize(lora, LoraInit::standard, seed, path, DType::f32);
    return lora.lora_a().value();
  };
  CHECK(same_bits(a_of(1, "x"), a_of(1, "x")));
  CHECK(!same_bits(a_of(1, "x"), a_of(2, "x")));
  CHECK(!same_bits(a_of(1, "x"), a_of(1, "y")));
}

}  // namespace graft::peft
