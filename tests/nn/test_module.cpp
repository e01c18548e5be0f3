#include <algorithm>
#include <optional>
#include <utility>

#include "graft/nn/embedding.h"
#include "graft/nn/init.h"
#include "graft/nn/linear.h"
#include "graft/nn/rms_norm.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

using test::check_contains, test::message_of, test::random_tensor;

/// A norm, a replaceable Linear, a numbered list, and a head tied to an embedding.
class Tree final : public Module {
 public:
  Tree()
      : items_(*this, "items", 2, [](int64_t i) { return std::make_unique<Linear>(3, 4 + i); }) {}

  Child<RmsNorm> norm{*this, "norm", make_norm(3, {.eps = 1e-5})};
  Child<LinearLike> linear{*this, "linear", make_linear(3, 2, true)};
  Child<Embedding> table{*this, "table", std::make_unique<Embedding>(5, 3)};
  Child<LinearLike> head{*this, "head", std::make_unique<Linear>(table->weight())};

 private:
  ChildList<Linear> items_;
};

std::vector<std::string> paths_of(Module& root) {
  std::vector<std::string> paths;
  for (const NamedMember& parameter : named_parameters(root))
    paths.push_back(parameter.path);
  return paths;
}

/// Adds another Linear to the one it wraps.
class Sum final : public LinearLike {
 public:
  explicit Sum(std::unique_ptr<LinearLike> base)
      : base_(*this, "", std::move(base)),
        extra_(*this, "extra", make_linear(base_->in_features(), base_->out_features())) {}
  Variable forward(const Variable& x, const Context& context) const override {
    return base_->forward(x, context);
  }
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }

 private:
  Child<LinearLike> base_;
  Child<LinearLike> extra_;
};

}  // namespace

TEST_CASE("module: paths follow the declarations, tied parameters stand once") {
  Tree tree;
  CHECK(paths_of(tree) == std::vector<std::string>{"norm.weight", "linear.weight", "linear.bias",
                                                   "table.weight", "items.0.weight",
                                                   "items.1.weight"});
  CHECK(count_parameters(tree) == 3 + 6 + 2 + 15 + 12 + 15);
  std::vector<std::string> all;
  for_each_member(tree, [&](const std::string& path, Member&) { all.push_back(path); });
  CHECK(std::ranges::count(all, "head.weight") == 1);
  CHECK(std::ranges::count(all, "items.1") == 1);
}

TEST_CASE("module: a replaced child has the new paths, a nameless member adds none") {
  Tree tree;
  tree.linear.replace([](auto base) { return std::make_unique<Sum>(std::move(base)); });
  const std::vector<std::string> paths = paths_of(tree);
  CHECK(std::ranges::count(paths, "linear.weight") == 1);
  CHECK(std::ranges::count(paths, "linear.bias") == 1);
  CHECK(std::ranges::count(paths, "linear.extra.weight") == 1);
}

TEST_CASE("module: a member that goes leaves the list, and the others keep their order") {
  class Changing final : public Module {
   public:
    std::optional<Parameter> first{std::in_place, *this, "first", Shape{1}};
    std::optional<Parameter> second{std::in_place, *this, "second", Shape{1}};
    std::optional<Parameter> third{std::in_place, *this, "third", Shape{1}};
  };
  Changing module;
  const auto names = [&] {
    std::vector<std::string> names;
    for (const Member* member : module.members())
      names.push_back(member->name());
    return names;
  };
  module.second.reset();
  CHECK(names() == std::vector<std::string>{"first", "third"});
  module.second.emplace(module, "again", Shape{2});
  CHECK(names() == std::vector<std::string>{"first", "third", "again"});
  module.first.reset();
  CHECK(names() == std::vector<std::string>{"third", "again"});
}

TEST_CASE("weight: what is loaded untied leaves the other end as it is") {
  Embedding embedding(3, 2);
  embedding.weight().load(Tensor::full({3, 2}, 1));
  Linear head(std::as_const(embedding).weight());
  head.weight().load_untied(Tensor::full({3, 2}, 2));
  CHECK(!head.weight().is_tied_to(embedding.weight()));
  CHECK(embedding.weight().value().to_vector() == std::vector<double>(6, 1));
  CHECK(head.weight().value().to_vector() == std::vector<double>(6, 2));
  test::check_contains(test::message_of<ShapeError>([&] {
                         head.weight().load_untied(Tensor::zeros({2, 2}));
                       }),
                       "weight has shape (3, 2), (2, 2) given");
}

TEST_CASE("module: tied layers share numbers and freezing") {
  Tree tree;
  initialize(tree, 0.1, 1);
  const auto& head = dynamic_cast<const Linear&>(*tree.head);
  CHECK(head.weight().is_tied_to(tree.table->weight()));
  CHECK(head.weight().value().storage() == tree.table->weight().value().storage());
  set_requires_grad(tree, true);
  const auto weight = std::get<Variable>(head.weight().storage());
  CHECK(weight.requires_grad());
  const Tensor ids = Tensor::from<int64_t>({1, 4}, {1, 2});
  const Context context;
  tree.head->forward(tree.table->forward(ids, context), context).backward();
  // The gradient of both uses lands in the one matrix: rows that were looked up get both parts.
  const Tensor grad = weight.grad();
  CHECK(grad.shape() == Shape{5, 3});
  CHECK(test::max_difference(grad.slice(0, 0, 1), grad.slice(0, 2, 3)) == 0);
  CHECK(test::max_difference(grad.slice(0, 0, 1), grad.slice(0, 1, 2)) > 0);
}

TEST_CASE("pack: frozen weights change their form, not their numbers, tied ones together") {
  Tree tree;
  initialize(tree, 0.1, 1);
  std::vector<Tensor> before;
  for (const NamedMember& parameter : named_parameters(tree))
    before.push_back(parameter.member->value().clone());
  const Tensor ids = Tensor::from<int64_t>({4, 0, 4}, {3, 1});
  const Context context;
  const auto forward = [&] {
    return tree.head->forward(tree.table->forward(ids, context), context).value();
  };
  const Tensor expected = forward();
  const Tensor rows = tree.table->forward(ids, context).value();
  pack(tree);
  const auto& head = dynamic_cast<const Linear&>(*tree.head);
  CHECK(std::holds_alternative<PackedTensor>(head.weight().storage()));
  CHECK(head.weight().is_tied_to(tree.table->weight()));
  CHECK(test::same_bits(tree.table->forward(ids, context).value(), rows));
  CHECK(test::relative_difference(forward(), expected) < 1e-6);  // sums of three products
  size_t i = 0;
  for (const NamedMember& parameter : named_parameters(tree))
    CHECK(test::same_bits(parameter.member->value(), before[i++]));
  CHECK(count_parameters(tree) == 3 + 6 + 2 + 15 + 12 + 15);
}

TEST_CASE("pack: weights that are trained stay dense, and packed ones cannot be trained") {
  Tree tree;
  initialize(tree, 0.1, 1);
  set_requires_grad(tree, true);
  pack(tree);
  CHECK(trainable_parameters(tree).size() == named_parameters(tree).size());
  set_requires_grad(tree, false);
  pack(tree);
  set_requires_grad(tree, true);
  for (const NamedVariable& variable : trainable_parameters(tree))
    CHECK_MESSAGE((variable.name.ends_with("norm.weight") || variable.name.ends_with("bias")),
                  variable.name);
}

TEST_CASE("weight: 4-bit numbers are held as they are, and dense ones put back in their place") {
  Linear linear(64, 8);
  auto* weight = dynamic_cast<Weight*>(linear.members()[0]);
  const quant::QuantizedTensor numbers = quant::quantize(random_tensor({8, 64}, 3), {});
  weight->load(quant::to_panels(numbers));
  CHECK(weight->variable() == nullptr);
  CHECK(test::same_bits(weight->value(), quant::dequantize(numbers, DType::f32)));
  const Tensor x = random_tensor({5, 64}, 4);
  const Tensor y = linear.forward(Variable(x), Context()).value();
  weight->load(quant::dequantize(numbers, DType::f32));
  CHECK(weight->variable() != nullptr);
  CHECK(test::relative_difference(y, linear.forward(Variable(x), Context()).value()) < 1e-6);
  check_contains(message_of<ShapeError>([&] {
                   weight->load(quant::quantize(random_tensor({8, 32}, 3), {}));
                 }),
                 "weight has shape (8, 64), (8, 32) given");
}

TEST_CASE("module: numbers of another shape are refused with both shapes") {
  Tree tree;
  for (const NamedMember& parameter : named_parameters(tree)) {
    CAPTURE(parameter.path);
    check_contains(message_of<ShapeError>([&] {
                     parameter.member->load(Tensor::zeros({7, 7}));
                   }),
                   "(7, 7) given");
  }
}

TEST_CASE("linear: x wᵀ + bias, for any number of leading dimensions") {
  Linear linear(3, 2, true);
  linear.members()[0]->load(Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}));
  linear.members()[1]->load(Tensor::from<float>({10, 20}, {2}));
  const Variable x(Tensor::from<float>({1, 0, 0, 0, 1, 1}, {1, 2, 3}));
  const Tensor y = linear.forward(x, Context()).value();
  CHECK(y.shape() == Shape{1, 2, 2});
  CHECK(y.to_vector() == std::vector<double>{11, 24, 15, 31});
}

TEST_CASE("init: numbers depend on seed and path only, and have the right spread") {
  const Tensor a = kaiming_uniform({50, 400}, 1, "a");
  CHECK(test::same_bits(a, kaiming_uniform({50, 400}, 1, "a")));
  CHECK(!test::same_bits(a, kaiming_uniform({50, 400}, 1, "b")));
  CHECK(!test::same_bits(a, kaiming_uniform({50, 400}, 2, "a")));
  double squares = 0;
  for (const double number : a.to_vector()) {
    CHECK_FALSE(std::abs(number) > 0.05);  // 1 / sqrt(400)
    squares += number * number;
  }
  // A uniform variable in ±b has variance b²/3; 20000 draws know it to a percent.
  CHECK(squares / 20000 == doctest::Approx(0.05 * 0.05 / 3).epsilon(0.03));
  squares = 0;
  for (const double number : normal({50, 400}, 0.2, 1, "a").to_vector())
    squares += number * number;
  CHECK(squares / 20000 == doctest::Approx(0.04).epsilon(0.03));
}

TEST_CASE("init: matrices are drawn, biases are 0, norms are 1") {
  Tree tree;
  initialize(tree, 0.5, 9, DType::f64);
  for (const NamedMember& parameter : named_parameters(tree)) {
    CAPTURE(parameter.path);
    const Tensor value = parameter.member->value();
    CHECK(value.dtype() == DType::f64);
    if (parameter.path == "norm.weight")
      CHECK(value.to_vector() == std::vector<double>(3, 1));
    else if (parameter.path == "linear.bias")
      CHECK(value.to_vector() == std::vector<double>(2, 0));
    else
      CHECK(value.to_vector()[0] != value.to_vector()[1]);
  }
}

}  // namespace graft::nn
