#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "graft/optim/adamw.h"
#include "graft/optim/lion.h"
#include "graft/optim/sgd.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/optim/golden.h"
#include "graft/tests/support/test.h"

namespace graft::optim {
namespace {

std::unique_ptr<Optimizer> make(const io::Json& record, std::vector<NamedVariable> parameters) {
  if (record["kind"] == "sgd")
    return std::make_unique<Sgd>(std::move(parameters),
                                 SgdOptions{.lr = record["lr"],
                                            .momentum = record.value("momentum", 0.0),
                                            .dampening = record.value("dampening", 0.0),
                                            .weight_decay = record.value("weight_decay", 0.0),
                                            .nesterov = record.value("nesterov", false)});
  if (record["kind"] == "lion") {
    LionOptions options{.lr = record["lr"], .weight_decay = record.value("weight_decay", 0.0)};
    if (record.contains("betas")) {
      options.beta1 = record["betas"][0];
      options.beta2 = record["betas"][1];
    }
    return std::make_unique<Lion>(std::move(parameters), options);
  }
  AdamWOptions options{.lr = record["lr"], .weight_decay = record["weight_decay"]};
  if (record.contains("betas")) {
    options.beta1 = record["betas"][0];
    options.beta2 = record["betas"][1];
  }
  options.eps = record.value("eps", options.eps);
  return std::make_unique<AdamW>(std::move(parameters), options);
}

std::vector<NamedVariable> two_leaves(DType dtype = DType::f32) {
  return {{"a", Variable(test::random_tensor({4, 3}, 1, dtype), true)},
          {"b", Variable(test::random_tensor({5}, 2, dtype), true)}};
}

Grads two_grads(uint64_t seed, DType dtype = DType::f32) {
  return {test::random_tensor({4, 3}, seed, dtype), test::random_tensor({5}, seed + 1, dtype)};
}

}  // namespace

TEST_CASE("optimizers: thirty steps are torch's and lion-pytorch's, the state bit for bit") {
  const Golden golden;
  for (const auto& record : golden.records()["optimizers"]) {
    const std::string name = record["name"];
    const auto optimizer = make(record, golden.initial());
    // SGD and Lion: the same bits. AdamW: torch's square root is not always the nearest number, so
    // an update may differ in its last bit, and each of the weights after it.
    const bool exact = record["kind"] != "adamw";
    double worst = 0;
    for (int64_t step = 0; step < golden.records()["steps"]; ++step) {
      optimizer->step(golden.gradients(step));
      for (const auto& [parameter, variable] : optimizer->parameters())
        worst =
            std::max(worst, test::relative_difference(
                                variable.value(), golden.at_step(name + "." + parameter, step)));
    }
    CHECK_MESSAGE(worst <= (exact ? 0 : 0x1p-22), name, ": ", worst);
    for (const auto& [key, tensor] : optimizer->state()) {
      const size_t dot = key.rfind('.');
      if (key != "step")
        CHECK_MESSAGE(test::same_bits(tensor, golden.tensor(name + "." + key.substr(dot + 1) + "." +
                                                            key.substr(0, dot))),
                      name, " ", key);
    }
  }
}

TEST_CASE("optimizers: a step of Lion is the formula of the paper") {
  const std::vector<NamedVariable> leaves = two_leaves(DType::f64);
  const std::vector<double> before = leaves[0].variable.value().to_vector();
  constexpr double lr = 0.01;
  constexpr double decay = 0.2;
  Lion lion(leaves, {.lr = lr, .beta1 = 0.9, .beta2 = 0.99, .weight_decay = decay});
  Grads grads = two_grads(3, DType::f64);
  grads[0].data<double>()[0] = 0;  // no direction: decays only
  const std::vector<double> first = grads[0].to_vector();
  lion.step(grads);
  grads = two_grads(7, DType::f64);
  const std::vector<double> second = grads[0].to_vector();
  lion.step(grads);
  const std::vector<double> after = leaves[0].variable.value().to_vector();
  const std::vector<double> mean = lion.state().at("exp_avg.a").to_vector();
  const auto sign = [](double x) { return static_cast<double>((x > 0) - (x < 0)); };
  for (size_t i = 0; i < before.size(); ++i) {
    const double once = before[i] * (1 - lr * decay) - lr * sign(first[i]);
    const double m = 0.01 * first[i];
    const double twice = once * (1 - lr * decay) - lr * sign(0.9 * m + 0.1 * second[i]);
    CHECK(after[i] == doctest::Approx(twice).epsilon(1e-14));
    CHECK(mean[i] == doctest::Approx(0.99 * m + 0.01 * second[i]).epsilon(1e-14));
  }
}

TEST_CASE("optimizers: grad_scale is a product with every gradient") {
  Grads grads = two_grads(3);
  AdamW scaled(two_leaves());
  scaled.step(grads, 0.25);
  for (Tensor& grad : grads)
    ops::scale_(grad, 0.25);  // exact: a power of two
  AdamW plain(two_leaves());
  plain.step(grads);
  for (size_t i = 0; i < 2; ++i)
    CHECK(test::same_bits(scaled.parameters()[i].variable.value(),
                          plain.parameters()[i].variable.value()));
}

TEST_CASE("optimizers: a parameter without a gradient is left alone and its steps do not count") {
  AdamW adamw(two_leaves());
  const Tensor before = adamw.parameters()[1].variable.value().clone();
  Grads grads = two_grads(3);
  grads[1] = Tensor();
  adamw.step(grads);
  CHECK(test::same_bits(adamw.parameters()[1].variable.value(), before));
  CHECK(adamw.state().at("step").to_vector() == std::vector<double>{1, 0});
  // Its first update later on has the size of a first update: the learning rate.
  grads = two_grads(5);
  adamw.step(grads);
  CHECK(test::max_difference(adamw.parameters()[1].variable.value(), before) ==
        doctest::Approx(2e-4).epsilon(1e-3));
}

TEST_CASE("optimizers: gradients come from the leaves and stay there until dropped") {
  Sgd sgd(two_leaves(), {.lr = 0.5});
  Variable a = sgd.parameters()[0].variable;
  const Tensor before = a.value().clone();
  a.backward();  // a gradient of ones
  sgd.step();
  CHECK(test::max_difference(ops::add(before, a.value(), -1), Tensor::full({4, 3}, 0.5)) < 1e-6);
  CHECK(a.grad().defined());
  sgd.zero();
  CHECK_FALSE(a.grad().defined());
  a.backward();
  const Grads taken = sgd.take_grads();
  CHECK(taken[0].defined());
  CHECK_FALSE(taken[1].defined());
  CHECK_FALSE(a.grad().defined());
}

TEST_CASE("optimizers: an optimizer continues from another one's state, bit for bit") {
  const std::vector<NamedVariable> leaves = two_leaves();
  AdamW first(leaves);
  first.step(two_grads(3));
  State saved;
  for (const auto& [name, tensor] : first.state())
    saved.emplace(name, tensor.clone());
  std::vector<NamedVariable> copies;
  for (const auto& [name, variable] : leaves)
    copies.push_back({name, Variable(variable.value().clone(), true)});
  AdamW second(copies);
  second.load_state(saved);
  first.step(two_grads(5));
  second.step(two_grads(5));
  for (size_t i = 0; i < 2; ++i)
    CHECK(test::same_bits(leaves[i].variable.value(), copies[i].variable.value()));
  CHECK(test::same_bits(saved.at("step"), Tensor::from<int64_t>({1, 1}, {2})));
}

TEST_CASE("optimizers: a state of other parameters is refused with all that differs") {
  AdamW adamw(two_leaves());
  adamw.step(two_grads(3));
  const Tensor before = adamw.state().at("exp_avg.a").clone();
  State other = adamw.state();
  other.erase("exp_avg.b");
  other["exp_avg.c"] = Tensor::zeros({1});
  other["exp_avg_sq.a"] = Tensor::zeros({3, 4});
  other["exp_avg.a"] = Tensor::zeros({4, 3});
  const std::string message = test::message_of<ConfigError>([&] { adamw.load_state(other); });
  test::check_contains(message, "adamw: the state is not one of these parameters:");
  test::check_contains(message, "'exp_avg.b' is missing");
  test::check_contains(message, "'exp_avg.c' is unexpected");
  test::check_contains(message, "'exp_avg_sq.a' is f32 (3, 4), f32 (4, 3) expected");
  CHECK(test::same_bits(adamw.state().at("exp_avg.a"), before));
}

TEST_CASE("optimizers: weights of 16 bits keep a state of 32, f64 weights one of 64") {
  AdamW half(two_leaves(DType::bf16), {.lr = 0.1});
  half.step(two_grads(3, DType::bf16));
  CHECK(half.state().at("exp_avg.a").dtype() == DType::f32);
  AdamW exact(two_leaves(DType::f64), {.lr = 0.1});
  exact.step(two_grads(3, DType::f64));
  CHECK(exact.state().at("exp_avg.a").dtype() == DType::f64);
  // bf16: 8 bits of mantissa, and weights of up to 3.
  CHECK(test::max_difference(half.parameters()[0].variable.value(),
                             exact.parameters()[0].variable.value()) < 3 * 0x1p-8);
}

TEST_CASE("optimizers: the bits do not depend on the number of threads") {
  const auto trained = [](int threads) {
    set_thread_count(threads);
    AdamW adamw({{"w", Variable(test::random_tensor({300, 200}, 1), true)}});
    adamw.step({test::random_tensor({300, 200}, 2)});
    return adamw.parameters()[0].variable.value();
  };
  const int before = thread_count();
  const Tensor one = trained(1);
  const Tensor two = trained(2);
  set_thread_count(before);
  CHECK(test::same_bits(one, two));
}

TEST_CASE("optimizers: wrong gradients are refused before anything is changed") {
  AdamW adamw(two_leaves());
  const Tensor before = adamw.parameters()[0].variable.value().clone();
  test::check_contains(test::message_of<ShapeError>([&] {
                         adamw.step(Grads{Tensor::zeros({4, 3})});
                       }),
                       "adamw: 1 gradients given for 2 parameters");
  Grads grads = two_grads(3);
  grads[1] = Tensor::zeros({6});
  test::check_contains(test::message_of<ShapeError>([&] { adamw.step(grads); }),
                       "adamw: the gradient of 'b' is (6), (5) expected");
  grads[1] = Tensor::zeros({5}, DType::f64);
  test::check_contains(test::message_of<DTypeError>([&] { adamw.step(grads); }),
                       "adamw: the gradient of 'b' is f64, f32 expected");
  CHECK(test::same_bits(adamw.parameters()[0].variable.value(), before));
}

TEST_CASE("optimizers: what cannot be trained and settings out of range are refused") {
  const auto refusal = [](const std::function<void()>& make) {
    return test::message_of<ConfigError>(make);
  };
  test::check_contains(refusal([] { AdamW({}); }), "nothing of the model requires a gradient");
  test::check_contains(refusal([] {
                         AdamW({{"w", Variable(Tensor::zeros({2}))}});
                       }),
                       "'w' is no leaf that requires a gradient");
  test::check_contains(refusal([] {
                         auto leaves = two_leaves();
                         leaves[1].name = "a";
                         AdamW adamw(leaves);
                       }),
                       "two parameters are named 'a'");
  test::check_contains(refusal([] { AdamW(two_leaves(), {.lr = -1}); }), "lr is -1");
  test::check_contains(refusal([] { AdamW(two_leaves(), {.beta2 = 1}); }), "a beta is 1");
  test::check_contains(refusal([] { AdamW(two_leaves(), {.eps = -1}); }), "eps is -1");
  test::check_contains(refusal([] { AdamW(two_leaves(), {.weight_decay = -1}); }),
                       "weight_decay is -1");
  test::check_contains(refusal([] { Lion(two_leaves(), {.beta1 = 1}); }), "lion: a beta is 1");
  test::check_contains(refusal([] { Lion(two_leaves(), {.weight_decay = -1}); }),
                       "lion: weight_decay is -1");
  test::check_contains(refusal([] { Sgd(two_leaves(), {.momentum = -1}); }), "momentum is -1");
  test::check_contains(refusal([] { Sgd(two_leaves(), {.nesterov = true}); }),
                       "a momentum and no dampening expected");
}

}  // namespace graft::optim
