// Batches whose rows use adapters of their own: numbers, gradients, generation.

#include <array>
#include <cmath>

#include "graft/autograd/engine.h"
#include "graft/autograd/gradcheck.h"
#include "graft/autograd/pointwise.h"
#include "graft/models/generate.h"
#include "graft/nn/loss.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/lora.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::by_row, test::check_contains, test::logits_of, test::message_of, test::random_tensor,
    test::same_bits, test::some_ids, test::ThreeAdapters, test::with_adapters;

using Names = std::vector<std::string>;

Tensor row_of(const Tensor& logits, int64_t row) {
  return logits.slice(0, row, row + 1).clone();
}

}  // namespace

TEST_CASE("rows: a row computes what it does with its adapter alone") {
  const Tensor ids = some_ids(4, 6);
  const Names rows = {"b", "__base__", "a", "c"};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool packed : {false, true}) {
      CAPTURE(dtype);
      CAPTURE(packed);
      ThreeAdapters three(dtype);
      if (packed)
        nn::pack(*three.base);
      const Tensor mixed = logits_of(three.model, ids, by_row(rows));
      for (size_t row = 0; row < rows.size(); ++row) {
        const auto at = static_cast<int64_t>(row);
        const Names alone = rows[row] == nn::base_row ? Names{} : Names{rows[row]};
        // Low-rank products over other numbers of rows may be summed in another order.
        CHECK(test::relative_difference(row_of(mixed, at),
                                        row_of(logits_of(three.model, ids, with_adapters(alone)),
                                               at)) < (dtype == DType::f32 ? 2e-6 : 2e-2));
      }
      CHECK(same_bits(logits_of(three.model, ids, by_row({"b", "b", "b", "b"})),
                      logits_of(three.model, ids, with_adapters({"b"}))));
    }
  }
}

TEST_CASE("rows: the biases of adapters stay in their rows") {
  ThreeAdapters three(DType::f32, true);
  const Tensor ids = some_ids(3, 5);
  const Tensor mixed = logits_of(three.model, ids, by_row({"c", "a", "__base__"}));
  const std::array<Names, 3> alone = {Names{"c"}, Names{"a"}, Names{}};
  for (int64_t row = 0; row < 3; ++row) {
    const Tensor expected =
        row_of(logits_of(three.model, ids, with_adapters(alone[static_cast<size_t>(row)])), row);
    CHECK(test::relative_difference(row_of(mixed, row), expected) < 1e-6);
  }
}

TEST_CASE("rows: gradients of single rows agree with finite differences") {
  constexpr int64_t in = 5, out = 4;
  auto base = std::make_unique<nn::Linear>(in, out, true);
  base->weight().load(random_tensor({out, in}, 1, DType::f64));
  base->bias()->load(random_tensor({out}, 2, DType::f64));
  AdaptedLinear layer(std::move(base));
  std::vector<Variable> inputs{Variable(random_tensor({3, 2, in}, 3, DType::f64), true)};
  uint64_t seed = 4;
  for (const char* name : {"a", "b"}) {
    auto lora = std::make_unique<Lora>(in, out, LoraOptions{.r = 2, .scaling = 1.5, .bias = true});
    for (nn::Member* member : lora->members()) {
      member->load(random_tensor(member->shape(), seed++, DType::f64));
      member->variable()->set_requires_grad(true);
      inputs.push_back(*member->variable());
    }
    layer.add(name, std::move(lora));
  }
  const nn::Context context = by_row({"b", "__base__", "a"});
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Variable>& x) { return layer.forward(x[0], context); }, inputs);
  CHECK_MESSAGE(result.passed, result.message);
}

TEST_CASE("rows: a broken adapter stays in its rows, and so do its gradients") {
  for (const char* broken : {"lora_A.weight", "lora_B.weight"}) {
    CAPTURE(std::string(broken));
    ThreeAdapters three;
    const Tensor ids = some_ids(4, 6);
    const nn::Context context = by_row({"b", "__base__", "a", "c"});
    three.model.set_requires_grad({"b"}, false);
    three.model.set_requires_grad({"a", "c"});
    const std::vector<NamedVariable> trained = three.model.trainable_parameters();
    const auto results = [&] {
      const Variable logits = three.model.logits(ids, three.model.resolve(context));
      run_backward(logits, random_tensor(logits.shape(), 9));
      std::vector<Tensor> found = {logits.value().slice(0, 1, 4).contiguous()};
      for (NamedVariable parameter : trained)
        found.push_back(parameter.variable.take_grad());
      return found;
    };
    const std::vector<Tensor> sound = results();
    three.model.set_requires_grad({"b"});
    for (NamedVariable parameter : three.model.trainable_parameters()) {
      if (parameter.name.ends_with(concat(".b.", broken)))
        parameter.variable.set_value(Tensor::full(parameter.variable.shape(), NAN));
    }
    three.model.set_requires_grad({"b"}, false);
    CHECK(!ops::all_finite(row_of(logits_of(three.model, ids, context), 0)));
    const std::vector<Tensor> beside_broken = results();
    for (size_t i = 0; i < sound.size(); ++i)
      CHECK(same_bits(beside_broken[i], sound[i]));
  }
}

TEST_CASE("rows: the loss of a mixed batch is the sum of its rows' losses") {
  ThreeAdapters three;
  const Tensor ids = some_ids(3, 6);
  Tensor labels = ids.clone();
  labels.data<int64_t>()[7] = nn::ignored_label;  // so that rows have different numbers of tokens
  const Names rows = {"c", "a", "b"};
  const double mixed =
      nn::causal_lm_loss(three.model, ids, labels, by_row(rows)).total.value().item();
  double sum = 0;
  for (int64_t row = 0; row < 3; ++row)
    sum += nn::causal_lm_loss(three.model, row_of(ids, row), row_of(labels, row),
                              with_adapters({rows[static_cast<size_t>(row)]}))
               .total.value()
               .item();
  CHECK(mixed == doctest::Approx(sum).epsilon(1e-6));
}

TEST_CASE("rows: prompts of one batch are continued by their own adapters") {
  ThreeAdapters three;
  const std::vector<std::vector<int64_t>> prompts = {{3, 5, 7}, {4}, {9, 2}, {3, 5, 7}};
  const Names rows = {"b", "c", "__base__", "a"};
  const auto continued = [&](const std::vector<std::vector<int64_t>>& some,
                             nn::AdapterSelection adapters) {
    std::vector<std::vector<int64_t>> ids;
    // Row 0 ends first, so that the others move up.
    const auto end = [&](int64_t row, int64_t) {
      return row == 0 && some.size() > 1 ? models::Verdict::end_row : models::Verdict::go_on;
    };
    for (auto& row :
         models::generate(three.model, some,
                          {.max_new_tokens = 6, .on_token = end, .adapters = std::move(adapters)}))
      ids.push_back(row.ids);
    return ids;
  };
  const auto mixed = continued(prompts, {.names = {}, .by_row = rows});
  CHECK(mixed[0].size() == 1);
  for (size_t row = 1; row < prompts.size(); ++row) {
    const Names alone = rows[row] == nn::base_row ? Names{} : Names{rows[row]};
    CHECK(mixed[row] == continued({prompts[row]}, {.names = alone})[0]);
  }
}

TEST_CASE("rows: what cannot be mixed in a batch is refused") {
  ThreeAdapters three;
  three.model.add_adapter("norms", {.target_modules = {"q_proj"}, .modules_to_save = {"norm"}});
  const Tensor ids = some_ids(2, 4);
  const auto refused = [&](const nn::Context& context) {
    return message_of<ConfigError>([&] { logits_of(three.model, ids, context); });
  };
  check_contains(refused(by_row({"a", "x"})), "adapter \"x\" does not exist; there are: a, b, c");
  check_contains(refused(by_row({"a"})), "adapters are named for 1 rows, but the batch has 2");
  check_contains(refused(by_row({"a", "norms"})),
                 "the adapter \"norms\" brings parameters of the base model of its own");
  nn::Context both = by_row({"a", "b"});
  both.adapters->names = {"a"};
  check_contains(refused(both), "adapters are named both for all rows and row by row");
  CHECK(same_bits(logits_of(three.model, ids, by_row({"norms", "norms"})),
                  logits_of(three.model, ids, with_adapters({"norms"}))));
}

}  // namespace graft::peft
