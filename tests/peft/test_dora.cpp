// DoRA: its norms, its gradients, its dropout, over weights held in every way.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "graft/autograd/columns.h"
#include "graft/autograd/dropout.h"
#include "graft/autograd/gradcheck.h"
#include "graft/autograd/low_rank.h"
#include "graft/autograd/pointwise.h"
#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/base_bias.h"
#include "graft/peft/dora.h"
#include "graft/peft/init.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::check_contains, test::message_of, test::random_linear, test::random_tensor,
    test::same_bits;

constexpr int64_t in = 64;
constexpr int64_t out = 40;
constexpr int64_t r = 3;

/// An adapter on the base, none of whose numbers is at its start.
std::unique_ptr<Dora> make_dora(const nn::Linear& base, DType dtype, LoraOptions options = {}) {
  options.r = r;
  auto dora = std::make_unique<Dora>(base.weight(), options);
  dora->lora_a().load(random_tensor({r, in}, 10, dtype));
  dora->lora_b().load(random_tensor({out, r}, 11, dtype));
  dora->magnitude().vector().load(random_tensor({out}, 12, dtype));
  nn::set_requires_grad(*dora, true);
  return dora;
}

/// W + scale · B A in f64.
Tensor changed(const Tensor& w, Lora& lora) {
  const Tensor a = lora.lora_a().value().to(DType::f64);
  const Tensor b = lora.lora_b().value().to(DType::f64);
  return ops::add(w.to(DType::f64), ops::matmul(b, a), lora.scaling());
}

/// The length of each row, in f64.
Tensor row_norms(const Tensor& rows) {
  Tensor norms = Tensor::zeros({rows.dim(0)}, DType::f64);
  const std::vector<double> values = rows.to_vector();
  for (int64_t i = 0; i < rows.numel(); ++i)
    norms.data<double>()[i / rows.dim(1)] += std::pow(values[static_cast<size_t>(i)], 2);
  for (double& norm : norms.span<double>())
    norm = std::sqrt(norm);
  return norms;
}

/// Rows multiplied by the factors.
Tensor scaled_rows(const Tensor& rows, const Tensor& factors) {
  Tensor scaled = rows.clone();
  for (int64_t i = 0; i < rows.numel(); ++i)
    scaled.data<double>()[i] *= factors.to_vector()[static_cast<size_t>(i / rows.dim(1))];
  return scaled;
}

/// m / ‖W + ΔW‖ · (W + ΔW), by forming it.
Tensor merged(const Tensor& w, Dora& dora) {
  const Tensor sum = changed(w, dora);
  Tensor factors = dora.magnitude().vector().value().to(DType::f64).clone();
  const Tensor norms = row_norms(sum);
  for (int64_t i = 0; i < out; ++i)
    factors.data<double>()[i] /= norms.data<double>()[i];
  return scaled_rows(sum, factors);
}

/// x wᵀ + the layer's bias, in f64.
Tensor output(const Tensor& x, const Tensor& w, const nn::Linear& base) {
  const Variable bias = bias_of(base, nn::Context());
  return ops::linear(x.to(DType::f64), w, bias.defined() ? bias.value().to(DType::f64) : Tensor(),
                     {}, {});
}

enum class Held { dense, panels, four_bits };

void hold(nn::Linear& base, Held held) {
  if (held == Held::panels)
    base.pack();
  if (held == Held::four_bits)
    base.weight().load(quant::to_panels(quant::quantize(base.weight().value(), {})));
}

}  // namespace

TEST_CASE("dora: the layer is m / |W + BA| (W + BA), whatever its weight is held in") {
  for (const Held held : {Held::dense, Held::panels, Held::four_bits}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(static_cast<int>(held));
      CAPTURE(dtype);
      auto base = random_linear(out, in, dtype);
      hold(*base, held);
      AdaptedLinear layer(std::move(base));
      auto dora = make_dora(layer.base(), DType::f32, {.scaling = 1.7});
      const Tensor w = merged(layer.base().weight().value(), *dora);
      layer.add("default", std::move(dora));
      const Tensor x = random_tensor({2, 3, in}, 2, dtype);
      const Variable y = layer.forward(Variable(x), test::with_adapters({"default"}));
      CHECK(y.dtype() == dtype);
      // f32 sums over 64 terms; bf16 rounds the product and the result.
      CHECK(test::relative_difference(y.value(), output(x, w, layer.base())) <
            (dtype == DType::f32 ? 3e-6 : 0x1p-6));
    }
  }
}

TEST_CASE("dora: magnitudes start as the norms, with which it is a LoRA") {
  for (const bool random : {false, true}) {
    AdaptedLinear layer(random_linear(out, in, DType::f64));
    auto dora = std::make_unique<Dora>(layer.base().weight(), LoraOptions{.r = r, .scaling = 2});
    initialize(*dora, random ? LoraInit::random : LoraInit::standard, 1, "path", DType::f64);
    dora->initialize_magnitude();
    const Tensor w = changed(layer.base().weight().value(), *dora);
    CHECK(test::max_difference(dora->magnitude().vector().value(), row_norms(w)) < 1e-12);
    layer.add("default", std::move(dora));
    const Tensor x = random_tensor({2, 3, in}, 2, DType::f64);
    const Variable y = layer.forward(Variable(x), test::with_adapters({"default"}));
    CHECK(test::max_difference(y.value(), output(x, w, layer.base())) < 1e-12);
  }
}

TEST_CASE("dora: gradients agree with differences of the layer whose norms stand still") {
  for (const bool drops : {false, true}) {
    AdaptedLinear layer(random_linear(out, in, DType::f64));
    auto made = make_dora(layer.base(), DType::f64,
                          {.scaling = 1.7, .dropout = drops ? 0.4 : 0, .dropout_module = 9});
    Dora& dora = *made;
    layer.add("default", std::move(made));
    const Tensor w = layer.base().weight().value();
    const Tensor norms = row_norms(changed(w, dora));
    // Written out: with dropout, all that is added to the base sees the dropped input.
    const auto formula = [&](const std::vector<Variable>& inputs) {
      const auto& [x, a, b, m] = std::tie(inputs[0], inputs[1], inputs[2], inputs[3]);
      Tensor inverse = norms.clone();
      for (double& value : inverse.span<double>())
        value = 1 / value;
      const Variable factors = mul(m, Variable(inverse));
      const DropoutKey key = test::training_with({}).dropout.key(drops ? 0.4 : 0, 9);
      const Variable dropped = dropout(x, key);
      const Variable plain = linear(dropped, Variable(w), {});
      const Variable whole = add(plain, low_rank(dropped, {a, b, 1.7}));
      const Variable bias = bias_of(layer.base(), nn::Context());
      if (!drops)
        return scale_columns(whole, factors, bias);
      return add(linear(x, Variable(w), bias),
                 add(scale_columns(whole, factors), scale(plain, -1)));
    };
    const std::vector<Variable> inputs{Variable(random_tensor({2, 3, in}, 2, DType::f64), true),
                                       *dora.lora_a(), *dora.lora_b(), *dora.magnitude().vector()};
    const GradcheckResult result = gradcheck(formula, inputs);
    CHECK_MESSAGE(result.passed, result.message);
    const Tensor seed = random_tensor({2, 3, out}, 5, DType::f64);
    const auto gradients_of = [&](const Variable& y) {
      y.backward(seed);
      std::vector<Tensor> gradients{y.value()};
      for (const Variable& input : inputs)
        gradients.push_back(Variable(input).take_grad());
      return gradients;
    };
    const std::vector<Tensor> expected = gradients_of(formula(inputs));
    const std::vector<Tensor> found =
        gradients_of(layer.forward(inputs[0], test::training_with({"default"})));
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      CHECK(test::max_difference(found[i], expected[i]) < 1e-11);
    }
    CHECK(!layer.base().weight().visit([](const auto& held) {
      if constexpr (std::is_same_v<std::decay_t<decltype(held)>, Variable>)
        return held.grad().defined();
      else
        return false;
    }));
  }
}

TEST_CASE("dora: several adapters apply one after the other, each to what was there before it") {
  AdaptedLinear layer(random_linear(out, in, DType::f64));
  const Tensor w = layer.base().weight().value();
  const auto lora_of = [&](uint64_t seed) {
    auto lora = std::make_unique<Lora>(in, out, LoraOptions{.r = 2, .scaling = 0.5});
    lora->lora_a().load(random_tensor({2, in}, seed, DType::f64));
    lora->lora_b().load(random_tensor({out, 2}, seed + 1, DType::f64));
    return lora;
  };
  auto before = lora_of(30), between = lora_of(40), after = lora_of(50);
  auto one = make_dora(layer.base(), DType::f64);
  auto two = make_dora(layer.base(), DType::f64, {.scaling = -0.3});
  two->magnitude().vector().load(random_tensor({out}, 13, DType::f64));
  Tensor expected = changed(w, *before);
  for (Dora* dora : {one.get(), two.get()}) {
    Tensor factors = dora->magnitude().vector().value().clone();
    for (int64_t i = 0; i < out; ++i)
      factors.data<double>()[i] /= row_norms(changed(w, *dora)).data<double>()[i];
    expected = scaled_rows(changed(expected, *dora), factors);
    expected = changed(expected, dora == one.get() ? *between : *after);
  }
  layer.add("before", std::move(before));
  layer.add("one", std::move(one));
  layer.add("between", std::move(between));
  layer.add("two", std::move(two));
  layer.add("after", std::move(after));
  const Tensor x = random_tensor({2, 3, in}, 2, DType::f64);
  const Variable y =
      layer.forward(Variable(x), test::with_adapters({"before", "one", "between", "two", "after"}));
  CHECK(test::max_difference(y.value(), output(x, expected, layer.base())) < 1e-11);
}

TEST_CASE("dora: its norms take no memory of the layer's size") {
  constexpr int64_t size = 512;
  for (const Held held : {Held::dense, Held::panels, Held::four_bits}) {
    CAPTURE(static_cast<int>(held));
    auto base = random_linear(size, size, DType::f32);
    hold(*base, held);
    const auto norms_of = [&] {
      Dora dora(base->weight(), LoraOptions{.r = r});
      initialize(dora, LoraInit::random, 1, "path", DType::f32);
      dora.initialize_magnitude();
    };
    CHECK(test::growth_of(norms_of).peak < 4 * size * size);
  }
}

TEST_CASE("dora: a row of zeros stays zero") {
  auto base = random_linear(out, in, DType::f32, false);
  Tensor w = base->weight().value().clone();
  std::fill_n(w.data<float>(), in, 0.0F);
  nn::named_parameters(*base)[0].member->load(w);
  AdaptedLinear layer(std::move(base));
  auto dora = std::make_unique<Dora>(layer.base().weight(), LoraOptions{.r = r});
  initialize(*dora, LoraInit::standard, 1, "path", DType::f32);
  dora->initialize_magnitude();
  layer.add("default", std::move(dora));
  const Tensor y =
      layer.forward(Variable(random_tensor({2, 3, in}, 2)), test::with_adapters({"default"}))
          .value();
  CHECK(y.to_vector()[0] == 0);
  CHECK(y.to_vector()[1] != 0);
}

TEST_CASE("dora: the norms of an adapter that is not trained follow its numbers") {
  AdaptedLinear layer(random_linear(out, in, DType::f32));
  auto made = make_dora(layer.base(), DType::f32);
  Dora& dora = *made;
  layer.add("default", std::move(made));
  nn::set_requires_grad(dora, false);
  const Tensor x = random_tensor({2, 3, in}, 2);
  const auto y = [&] {
    return layer.forward(Variable(x), test::with_adapters({"default"})).value();
  };
  const Tensor first = y();
  CHECK(same_bits(y(), first));
  dora.lora_b().load(ops::scale(dora.lora_b().value(), 2));
  CHECK(test::relative_difference(
            y(), output(x, merged(layer.base().weight().value(), dora), layer.base())) < 3e-6);
  CHECK(!same_bits(y(), first));
}

TEST_CASE("dora: an embedding's features have lengths over all its rows") {
  constexpr int64_t rows = 300;  // more than the norms convert at a time
  auto base = std::make_unique<nn::Embedding>(rows, 5);
  nn::named_parameters(*base)[0].member->load(random_tensor({rows, 5}, 1, DType::f64));
  nn::set_requires_grad(*base, false);
  auto dora = std::make_unique<DoraEmbedding>(base->weight(), 2, 1.5);
  dora->lora_a().load(random_tensor({2, rows}, 2, DType::f64));
  dora->lora_b().load(random_tensor({5, 2}, 3, DType::f64));
  dora->initialize_magnitude();
  const Tensor table = ops::add(
      base->weight().value(),
      ops::matmul(dora->lora_b().value(), dora->lora_a().value()).transpose(0, 1).contiguous(),
      1.5);
  CHECK(test::max_difference(dora->magnitude().vector().value(),
                             row_norms(table.transpose(0, 1).contiguous())) < 1e-11);
  dora->magnitude().vector().load(ops::scale(dora->magnitude().vector().value(), 3));
  AdaptedEmbedding layer(std::move(base));
  layer.add("default", std::move(dora));
  const Tensor ids = Tensor::from(std::vector<int64_t>{7, 299, 0}, {1, 3});
  const Tensor y = layer.forward(ids, test::with_adapters({"default"})).value();
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 5; ++j)
      CHECK(
          y.data<double>()[i * 5 + j] ==
          doctest::Approx(3 * table.data<double>()[ids.data<int64_t>()[i] * 5 + j]).epsilon(1e-11));
  }
}

TEST_CASE("dora: what cannot go with it is refused") {
  const auto model = test::tiny_llama(1, true);
  check_contains(message_of<ConfigError>([&] {
                   get_peft_model(*model, {.target_modules = {"embed_tokens"},
                                           .use_dora = true,
                                           .ensure_weight_tying = true});
                 }),
                 "use_dora does not go with ensure_weight_tying on model.embed_tokens");
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"q_proj"}, .use_dora = true});
  adapted.add_adapter("copy", {.target_modules = {"v_proj"}, .modules_to_save = {"q_proj"}});
  adapted.set_adapter({"default", "copy"});
  check_contains(
      message_of<ConfigError>([&] { adapted.forward(test::some_ids(1, 3), nn::Context()); }),
      "use_dora is on a layer of which another active adapter has a copy");
}

TEST_CASE("dora: merged with others, in part or whole, it applies in its place") {
  const auto base = test::tiny_llama(2);
  const std::vector<std::string> all{"before", "one", "two", "after"};
  const Targets targets{"q_proj", "embed_tokens"};
  PeftModel model(*base, {.target_modules = targets}, "before");
  test::perturb(model, 10);
  for (const char* name : {"one", "two", "after"}) {
    model.add_adapter(name, {.target_modules = targets, .use_dora = std::string(name) != "after"});
    model.set_adapter({name});
    test::perturb(model, std::string(name).size() * 100);
  }
  const Tensor ids = test::some_ids(2, 6);
  model.set_adapter(all, true);
  const Tensor expected = test::logits_of(model, ids);
  struct Case {
    std::vector<std::string> merged;
    bool is_used;  // the merged layers stand for those adapters
  };
  for (const Case& each :
       {Case{all, true}, Case{{"before"}, true}, Case{{"before", "one"}, true},
        Case{{"one"}, false}, Case{{"before", "two"}, false}, Case{{"after"}, false}}) {
    CAPTURE(Targets(each.merged));
    model.merge_adapter(each.merged);
    const Tensor merged = test::logits_of(model, ids);
    // f32 sums over a few dozen terms in two orders, over two layers.
    CHECK(test::relative_difference(merged, expected) < 2e-5);
    CHECK(same_bits(merged, expected) != each.is_used);
    model.unmerge_adapter();
    CHECK(same_bits(test::logits_of(model, ids), expected));
  }
  check_contains(message_of<ConfigError>([&] {
                   model.forward(ids, test::by_row({"one", "after"}));
                 }),
                 "cannot apply to single rows");
}

TEST_CASE("dora: what it and a copy of its layer would come to is not merged") {
  const auto base = test::tiny_llama(1);
  PeftModel model(*base, {.target_modules = {"q_proj"}, .use_dora = true}, "dora");
  model.add_adapter("copy", {.target_modules = {"v_proj"}, .modules_to_save = {"q_proj"}});
  check_contains(message_of<ConfigError>([&] {
                   model.merge_and_unload({"dora", "copy"});
                 }),
                 "use_dora is on model.layers.0.self_attn.q_proj, of which another one has a copy");
}

}  // namespace graft::peft
