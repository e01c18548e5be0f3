// What adapters put in the place of parameters: where it applies, what it computes, who is trained.
#include "graft/autograd/gradcheck.h"
#include "graft/autograd/pointwise.h"
#include "graft/nn/embedding.h"
#include "graft/nn/linear.h"
#include "graft/nn/rms_norm.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

using test::random_tensor, test::same_bits;

constexpr int64_t rows = 6;
constexpr int64_t width = 4;

Context with(std::vector<std::string> names) {
  Context context;
  context.adapters = AdapterSelection{std::move(names)};
  return context;
}

/// Numbers of f64 in every parameter; the base is frozen.
void fill(Module& module) {
  uint64_t seed = 1;
  for (const NamedMember& parameter : named_parameters(module))
    parameter.member->load(random_tensor(parameter.member->shape(), seed++, DType::f64));
}

Member& parameter(Module& module, std::string_view name) {
  for (Member* member : module.members()) {
    if (member->name() == name)
      return *member;
  }
  throw Error("no such parameter");
}

Variable trained(Shape shape, uint64_t seed = 30) {
  return Variable(random_tensor(shape, seed, DType::f64), true);
}

/// The numbers of `table` with those rows in their places.
Tensor with_rows(const Tensor& table, const Tensor& values, const std::vector<int64_t>& places) {
  Tensor result = table.clone();
  for (size_t i = 0; i < places.size(); ++i) {
    for (int64_t j = 0; j < width; ++j)
      result.data<double>()[places[i] * width + j] =
          values.data<double>()[static_cast<int64_t>(i) * width + j];
  }
  return result;
}

const std::vector<int64_t> places{4, 1};

}  // namespace

TEST_CASE("override: it applies where the context names its adapter, and nowhere else") {
  Linear linear(width, rows, true);
  fill(linear);
  const Variable x(random_tensor({3, width}, 9, DType::f64));
  const Tensor base = linear.forward(x, Context()).value();
  parameter(linear, "weight").overrides()->add({"a", trained({rows, width})});
  parameter(linear, "bias").overrides()->add({"b", trained({rows})});
  for (const Context& context : {Context(), with({}), with({"c"})})
    CHECK(same_bits(linear.forward(x, context).value(), base));
  const Tensor a = linear.forward(x, with({"a"})).value();
  const Tensor b = linear.forward(x, with({"b"})).value();
  CHECK(!same_bits(a, base));
  CHECK(!same_bits(b, base));
  CHECK(!same_bits(linear.forward(x, with({"a", "b"})).value(), a));
  parameter(linear, "weight").overrides()->remove("a");
  CHECK(same_bits(linear.forward(x, with({"a"})).value(), base));
}

TEST_CASE("override: of a whole parameter computes what the parameter would") {
  Linear linear(width, rows, true);
  Linear other(width, rows, true);
  RmsNorm norm(width, {.eps = 1e-6});
  RmsNorm other_norm(width, {.eps = 1e-6});
  Embedding table(rows, width);
  Embedding other_table(rows, width);
  fill(linear);
  fill(norm);
  fill(table);
  const auto replace = [](Module& module, Module& copy) {
    uint64_t seed = 50;
    for (const NamedMember& each : named_parameters(copy)) {
      const Variable value = trained(each.member->shape(), seed++);
      each.member->load(value.value());
      parameter(module, each.path).overrides()->add({"a", value});
    }
  };
  replace(linear, other);
  replace(norm, other_norm);
  replace(table, other_table);
  const Variable x(random_tensor({3, width}, 9, DType::f64));
  const Tensor ids = Tensor::from<int64_t>({4, 0, 4, 5}, {2, 2});
  const Context a = with({"a"});
  CHECK(same_bits(linear.forward(x, a).value(), other.forward(x, a).value()));
  CHECK(same_bits(norm.forward(x, a).value(), other_norm.forward(x, a).value()));
  CHECK(same_bits(table.forward(ids, a).value(), other_table.forward(ids, a).value()));
}

TEST_CASE("override: rows of a table and of a head stand where those rows are asked for") {
  Embedding table(rows, width);
  fill(table);
  Linear head(table.weight());
  const Tensor weight = table.weight().value();
  const Variable values = trained({2, width});
  const Tensor indices = Tensor::from(places, {2});
  const Tensor changed = with_rows(weight, values.value(), places);
  parameter(table, "weight").overrides()->add({"a", values, indices});
  const Tensor ids = Tensor::from<int64_t>({4, 0, 4, 5, 1, 2}, {2, 3});
  const Variable x(random_tensor({3, width}, 9, DType::f64));

  Embedding expected_table(rows, width);
  parameter(expected_table, "weight").load(changed);
  CHECK(same_bits(table.forward(ids, with({"a"})).value(),
                  expected_table.forward(ids, Context()).value()));
  const Tensor none = Tensor::from<int64_t>({0, 5}, {2});
  CHECK(
      same_bits(table.forward(none, with({"a"})).value(), table.forward(none, Context()).value()));
  // Tied, but overridden one by one.
  const Tensor base = head.forward(x, Context()).value();
  CHECK(same_bits(head.forward(x, with({"a"})).value(), base));
  parameter(head, "weight").overrides()->add({"a", values, indices});
  const Tensor expected = Linear(expected_table.weight()).forward(x, Context()).value();
  // Sums of four products, in f64.
  CHECK(test::max_difference(head.forward(x, with({"a"})).value(), expected) < 1e-14);
  CHECK(test::max_difference(expected, base) > 0.1);

  const GradcheckResult result = gradcheck(
      [&](const std::vector<Variable>& inputs) { return head.forward(inputs[0], with({"a"})); },
      {Variable(x.value(), true), values});
  CHECK_MESSAGE(result.passed, result.message);
  const GradcheckResult lookup = gradcheck(
      [&](const std::vector<Variable>&) { return table.forward(ids, with({"a"})); }, {values});
  CHECK_MESSAGE(lookup.passed, lookup.message);
}

TEST_CASE("override: only the override is trained, and the parameter keeps its bits") {
  Embedding table(rows, width);
  fill(table);
  const Tensor before = table.weight().value().clone();
  set_requires_grad(table, false);
  const Variable values = trained({2, width});
  parameter(table, "weight").overrides()->add({"a", values, Tensor::from(places, {2})});
  const Tensor ids = Tensor::from<int64_t>({4, 0, 4}, {3});
  sum(table.forward(ids, with({"a"}))).backward();
  CHECK(values.grad().to_vector() == std::vector<double>{2, 2, 2, 2, 0, 0, 0, 0});
  CHECK(!parameter(table, "weight").variable()->grad().defined());
  CHECK(same_bits(table.weight().value(), before));
}

TEST_CASE("override: numbers of f32 serve a model of 16 bits") {
  Embedding table(rows, width);
  parameter(table, "weight").load(random_tensor({rows, width}, 1, DType::bf16));
  Linear head(table.weight());
  const Variable values(random_tensor({2, width}, 2), true);
  for (Module* module : std::initializer_list<Module*>{&table, &head})
    parameter(*module, "weight").overrides()->add({"a", values, Tensor::from(places, {2})});
  const Variable x = table.forward(Tensor::from<int64_t>({1, 4}, {2}), with({"a"}));
  CHECK(x.dtype() == DType::bf16);
  const Variable y = head.forward(x, with({"a"}));
  CHECK(y.dtype() == DType::bf16);
  sum(y).backward();
  CHECK(values.grad().dtype() == DType::f32);
}

TEST_CASE("override: two adapters that bring the same parameter cannot apply together") {
  Linear linear(width, rows);
  fill(linear);
  for (const char* name : {"a", "b"})
    parameter(linear, "weight").overrides()->add({name, trained({rows, width})});
  const Variable x(random_tensor({3, width}, 9, DType::f64));
  linear.forward(x, with({"a"}));
  test::check_contains(test::message_of<ConfigError>([&] {
                         linear.forward(x, with({"b", "a"}));
                       }),
                       "the adapters \"a\" and \"b\" bring the same parameter of the base model");
}

TEST_CASE(
    "override: adapters that bring different rows apply together, those that share one do not") {
  Embedding table(rows, width);
  fill(table);
  Linear head(table.weight());
  const Tensor weight = table.weight().value();
  const Variable a = trained({2, width}), b = trained({1, width}, 40), c = trained({1, width}, 50);
  for (Module* module : std::initializer_list<Module*>{&table, &head}) {
    Overrides& overrides = *parameter(*module, "weight").overrides();
    overrides.add({"a", a, Tensor::from(places, {2})});
    overrides.add({"b", b, Tensor::from<int64_t>({2}, {1})});
    overrides.add({"c", c, Tensor::from<int64_t>({1}, {1})});
  }
  Embedding expected(rows, width);
  parameter(expected, "weight")
      .load(with_rows(with_rows(weight, a.value(), places), b.value(), {2}));
  const Tensor ids = Tensor::from<int64_t>({4, 0, 1, 5, 2, 2}, {2, 3});
  const Variable x(random_tensor({3, width}, 9, DType::f64));
  const Context both = with({"b", "a"});
  CHECK(same_bits(table.forward(ids, both).value(), expected.forward(ids, {}).value()));
  // Sums of four products, in f64.
  CHECK(test::max_difference(head.forward(x, both).value(),
                             Linear(expected.weight()).forward(x, {}).value()) < 1e-14);
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Variable>&) { return sum(table.forward(ids, both)); }, {a, b});
  CHECK_MESSAGE(result.passed, result.message);
  test::check_contains(test::message_of<ConfigError>([&] {
                         table.forward(ids, with({"a", "b", "c"}));
                       }),
                       "the adapters \"a\" and \"c\" bring the same parameter of the base model");
}

TEST_CASE("override: rows of one batch may not need different numbers of a parameter") {
  Linear linear(width, rows, true);
  fill(linear);
  parameter(linear, "bias").overrides()->add({.adapter = "a", .value = trained({rows})});
  const Variable x(random_tensor({2, 3, width}, 9, DType::f64));
  const auto by_row = [](std::vector<std::string> names) {
    Context context;
    context.adapters = AdapterSelection{.names = {}, .by_row = std::move(names)};
    return context;
  };
  const Tensor base = linear.forward(x, {}).value();
  CHECK(same_bits(linear.forward(x, by_row({"b", "__base__"})).value(), base));
  CHECK(same_bits(linear.forward(x, by_row({"a", "a"})).value(),
                  linear.forward(x, with({"a"})).value()));
  test::check_contains(test::message_of<ConfigError>([&] {
                         linear.forward(x, by_row({"a", "b"}));
                       }),
                       "the adapter \"a\" brings parameters of the base model of its own");
}

TEST_CASE("adapter selection: some of the rows") {
  const AdapterSelection selection{.names = {}, .by_row = {"a", "b", "a"}};
  CHECK(selection.applies("b"));
  CHECK(!selection.applies("c"));
  CHECK(selection.differs_by_row());
  const std::vector<int64_t> picked = {2, 0};
  CHECK(selection.of_rows(picked).by_row == std::vector<std::string>{"a", "a"});
  CHECK(!selection.of_rows(picked).differs_by_row());
  CHECK(AdapterSelection{.names = {"a"}}.of_rows(picked).names == std::vector<std::string>{"a"});
  const AdapterSelection partly{
      .names = {"a"}, .parts = {{.adapter = "a", .starts = {3, AdapterPart::nowhere, 5}}}};
  const AdapterSelection part = partly.of_rows(picked);
  REQUIRE(part.part_of("a") != nullptr);
  CHECK(part.part_of("a")->starts == std::vector<int64_t>{5, 3});
  CHECK(part.part_of("b") == nullptr);
}

}  // namespace graft::nn
