// Every operation that records itself is compared with finite differences here, in f64. The last
// case reads the sources and fails when an operation has no comparison.
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "graft/autograd/attention.h"
#include "graft/autograd/checkpoint.h"
#include "graft/autograd/columns.h"
#include "graft/autograd/dropout.h"
#include "graft/autograd/embedding.h"
#include "graft/autograd/gradcheck.h"
#include "graft/autograd/linear.h"
#include "graft/autograd/low_rank.h"
#include "graft/autograd/norm.h"
#include "graft/autograd/pointwise.h"
#include "graft/autograd/rope.h"
#include "graft/autograd/split.h"
#include "graft/autograd/tape.h"
#include "graft/nn/loss.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/test.h"

namespace graft {
namespace {

using Inputs = std::vector<Variable>;

/// Names of the nodes that checked functions put on the tape.
std::set<std::string>& checked_names() {
  static std::set<std::string> names;
  return names;
}

void collect_names(const Variable& y) {
  std::vector<const Node*> pending{y.edge().node.get()};
  std::set<const Node*> seen;
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    if (node == nullptr || !seen.insert(node).second)
      continue;
    checked_names().insert(node->name());
    for (const Edge& edge : node->inputs())
      pending.push_back(edge.node.get());
  }
}

Variable leaf(Shape shape, uint64_t seed) {
  return Variable(test::random_tensor(shape, seed, DType::f64), true);
}

Variable frozen(Shape shape, uint64_t seed) {
  return Variable(test::random_tensor(shape, seed, DType::f64));
}

void check(const std::function<Variable(const Inputs&)>& function, Inputs inputs) {
  collect_names(function(inputs));
  const GradcheckResult result = gradcheck(function, std::move(inputs));
  INFO("worst difference / allowed: ", result.worst);
  CHECK_MESSAGE(result.passed, result.message);
}

DropoutKey dropout_key(int64_t rows) {
  Tensor sample = Tensor::empty({rows}, DType::i64);
  Tensor position = Tensor::empty({rows}, DType::i64);
  for (int64_t i = 0; i < rows; ++i) {
    sample.data<int64_t>()[i] = i / 3;
    position.data<int64_t>()[i] = i % 3;
  }
  return {.p = 0.3, .seed = 1, .step = 2, .module = 3, .sample = sample, .position = position};
}

}  // namespace

TEST_CASE("gradcheck: elementwise operations and shapes") {
  check([](const Inputs& x) { return add(x[0], x[1]); }, {leaf({2, 3}, 1), leaf({2, 3}, 2)});
  check([](const Inputs& x) { return add(x[0], x[0]); }, {leaf({2, 3}, 1)});
  check([](const Inputs& x) { return mul(x[0], x[1]); }, {leaf({2, 3}, 1), leaf({2, 3}, 2)});
  check([](const Inputs& x) { return mul(x[0], x[1]); }, {leaf({2, 3}, 1), frozen({2, 3}, 2)});
  check([](const Inputs& x) { return mul(x[0], x[0]); }, {leaf({2, 3}, 1)});
  check([](const Inputs& x) { return scale(x[0], -0.7); }, {leaf({4}, 1)});
  check([](const Inputs& x) { return sum(mul(x[0], x[0])); }, {leaf({2, 3}, 1)});
  check([](const Inputs& x) { return view(mul(x[0], x[0]), {3, -1}); }, {leaf({2, 3}, 1)});
  check([](const Inputs& x) { return swiglu(x[0], x[1]); }, {leaf({3, 5}, 1), leaf({3, 5}, 2)});
}

TEST_CASE("gradcheck: split along each dimension, with parts that nobody uses") {
  for (const int dimension : {0, 1, -1}) {
    const auto products = [&](const Inputs& x) {
      const Inputs parts = split(x[0], dimension, {2, 1, 1});
      return mul(parts[1], parts[2]);
    };
    check([&](const Inputs& x) { return sum(products(x)); }, {leaf({4, 4, 4}, 1)});
  }
  const std::string message = test::message_of<ShapeError>([] {
    split(leaf({4, 5}, 1), 1, {2, 2});
  });
  test::check_contains(message, "split: parts of 4 given, dimension 1 of (4, 5) expected");
}

TEST_CASE("gradcheck: gelu of both kinds, gated and not") {
  for (const GeluKind kind : {GeluKind::exact, GeluKind::tanh}) {
    check([kind](const Inputs& x) { return gelu(scale(x[0], 2), kind); }, {leaf({4, 9}, 1)});
    const auto gated = [kind](const Inputs& x) { return geglu(x[0], x[1], kind); };
    check(gated, {leaf({3, 5}, 1), leaf({3, 5}, 2)});
    check(gated, {frozen({3, 5}, 1), leaf({3, 5}, 2)});
  }
}

TEST_CASE("gradcheck: rms_norm, with and without an offset and a gradient for the weight") {
  for (const double offset : {0.0, 1.0}) {
    const auto norm = [offset](const Inputs& x) { return rms_norm(x[0], x[1], 1e-5, offset); };
    check(norm, {leaf({2, 40, 5}, 1), leaf({5}, 2)});
    check(norm, {leaf({3, 5}, 1), frozen({5}, 2)});
  }
}

TEST_CASE("gradcheck: scale_columns, with and without a bias and gradients for each operand") {
  const auto scaled = [](const Inputs& x) { return scale_columns(x[0], x[1]); };
  check(scaled, {leaf({2, 40, 5}, 1), leaf({5}, 2)});
  check(scaled, {leaf({3, 5}, 1), frozen({5}, 2)});
  check(scaled, {frozen({3, 5}, 1), leaf({5}, 2)});
  check([](const Inputs& x) { return scale_columns(x[0], x[1], x[2]); },
        {leaf({3, 5}, 1), leaf({5}, 2), leaf({5}, 3)});
}

TEST_CASE("gradcheck: dropout, and a low-rank term alone") {
  check([](const Inputs& x) { return dropout(x[0], dropout_key(6)); }, {leaf({2, 3, 5}, 1)});
  check([](const Inputs& x) { return dropout(scale(x[0], 2), {}); }, {leaf({2, 3, 5}, 1)});
  check(
      [](const Inputs& x) {
        return low_rank(x[0], {x[1], x[2], 0.7, dropout_key(6)});
      },
      {leaf({2, 3, 5}, 1), leaf({2, 5}, 2), leaf({4, 2}, 3)});
}

TEST_CASE("gradcheck: a low-rank term alone, on some rows") {
  const Tensor rows = Tensor::from(std::vector<int64_t>{4, 1}, {2});
  check(
      [&](const Inputs& x) {
        return low_rank(x[0], {.a = x[1], .b = x[2], .scale = 0.7, .dropout = {}, .rows = rows});
      },
      {leaf({2, 3, 5}, 1), leaf({2, 5}, 2), leaf({4, 2}, 3)});
}

TEST_CASE("gradcheck: layer_norm, with and without gradients for weight and bias") {
  const auto norm = [](const Inputs& x) { return layer_norm(x[0], x[1], x[2], 1e-5); };
  check(norm, {leaf({2, 40, 5}, 1), leaf({5}, 2), leaf({5}, 3)});
  check(norm, {leaf({3, 5}, 1), frozen({5}, 2), leaf({5}, 3)});
  check(norm, {leaf({3, 5}, 1), frozen({5}, 2), frozen({5}, 3)});
  check(norm, {frozen({3, 5}, 1), leaf({5}, 2), leaf({5}, 3)});
}

TEST_CASE("gradcheck: rope") {
  const Tensor positions = Tensor::from<int64_t>({0, 1, 2, 7, 8, 9}, {2, 3});
  const auto tables = ops::rope_tables(positions, {1.0, 0.1}, DType::f64);
  check([&](const Inputs& x) { return rope(x[0], tables); }, {leaf({2, 3, 2, 4}, 1)});
  // A part of each head, cosine and sine scaled.
  const auto scaled = ops::rope_tables(positions, {1.0, 0.1}, DType::f64, 1.3);
  check([&](const Inputs& x) { return rope(x[0], scaled); }, {leaf({2, 3, 2, 7}, 1)});
}

TEST_CASE("gradcheck: attention over block borders, groups, segments, window and start") {
  const auto with = [](AttentionMask mask) {
    return [mask](const Inputs& x) {
      return scaled_dot_product_attention(x[0], x[1], x[2], mask, 0.6);
    };
  };
  check(with({}), {leaf({1, 66, 2, 2}, 1), leaf({1, 66, 1, 2}, 2), leaf({1, 66, 1, 2}, 3)});
  check(with({.window = 3}), {leaf({2, 8, 2, 3}, 1), leaf({2, 8, 2, 3}, 2), leaf({2, 8, 2, 3}, 3)});
  // The queries that see the first block of keys end inside the second block of queries.
  check(with({.window = 3}),
        {leaf({1, 70, 1, 1}, 1), leaf({1, 70, 1, 1}, 2), leaf({1, 70, 1, 1}, 3)});
  const Tensor segments = Tensor::from<int64_t>({0, 0, 1, 1, 1, 2}, {1, 6});
  check(with({.segments = segments}),
        {leaf({1, 6, 4, 2}, 1), leaf({1, 6, 2, 2}, 2), leaf({1, 6, 2, 2}, 3)});
  const Tensor start = Tensor::from<int64_t>({2, -1}, {2});
  check(with({.start = start}),
        {leaf({2, 3, 1, 2}, 1), leaf({2, 6, 1, 2}, 2), leaf({2, 6, 1, 2}, 3)});
}

TEST_CASE("gradcheck: embedding adds up the gradients of repeated ids") {
  const Tensor ids = Tensor::from<int64_t>({1, 4, 1, 0}, {2, 2});
  check([&](const Inputs& x) { return embedding(x[0], ids); }, {leaf({5, 3}, 1)});
}

TEST_CASE("gradcheck: a table that is held transposed gives the same rows") {
  const Tensor ids = Tensor::from<int64_t>({1, 4, 1, 0}, {2, 2});
  const Variable table = leaf({3, 5}, 1);
  check([&](const Inputs& x) { return embedding_of_columns(x[0], ids); }, {table});
  const Variable straight(table.value().transpose(0, 1).contiguous());
  CHECK(
      test::same_bits(embedding_of_columns(table, ids).value(), embedding(straight, ids).value()));
}

TEST_CASE("gradcheck: single rows replaced, single columns added to") {
  const Tensor indices = Tensor::from<int64_t>({4, 0}, {2});
  const auto replaced = [&](const Inputs& x) { return replace_rows(x[0], x[1], indices); };
  const auto added = [&](const Inputs& x) { return add_to_columns(x[0], x[1], indices); };
  check(replaced, {leaf({2, 3, 4}, 1), leaf({2, 4}, 2)});
  check(replaced, {frozen({2, 3, 4}, 1), leaf({2, 4}, 2)});
  check(added, {leaf({2, 3, 5}, 1), leaf({2, 3, 2}, 2)});
  check(added, {frozen({2, 3, 5}, 1), leaf({2, 3, 2}, 2)});

  const Variable x(Tensor::from<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {5, 2}));
  const Variable two(Tensor::from<float>({20, 21, 30, 31}, {2, 2}));
  CHECK(replace_rows(x, two, indices).value().to_vector() ==
        std::vector<double>{30, 31, 2, 3, 4, 5, 6, 7, 20, 21});
  CHECK(x.value().to_vector()[8] == 8);
  const Variable wide(x.value().view({2, 5}));
  CHECK(add_to_columns(wide, two, indices).value().to_vector() ==
        std::vector<double>{21, 1, 2, 3, 24, 36, 6, 7, 8, 39});
  test::check_contains(test::message_of<ShapeError>([&] {
                         replace_rows(x, two, Tensor::from<int64_t>({5, 0}, {2}));
                       }),
                       "replace_rows: index 5 given, 0 to 4 expected");
}

TEST_CASE("gradcheck: transposed, and in another dtype") {
  check([](const Inputs& x) { return mul(transpose(x[0]), x[1]); },
        {leaf({3, 2}, 1), leaf({2, 3}, 2)});
  // Finite differences drown in the rounding; the gradient is that of no operation at all.
  const Variable x = leaf({4}, 1);
  const Variable rounded = to(x, DType::bf16);
  CHECK(test::same_bits(rounded.value(), x.value().to(DType::bf16)));
  collect_names(rounded);
  rounded.backward(Tensor::from<float>({1, 2, 3, 4}, {4}).to(DType::bf16));
  CHECK(x.grad().dtype() == DType::f64);
  CHECK(x.grad().to_vector() == std::vector<double>{1, 2, 3, 4});
  CHECK(to(x, DType::f64).id() == x.id());
}

TEST_CASE("gradcheck: linear with bias, low-rank terms, dropout, frozen and trained parts") {
  const auto with_terms = [](bool dropout) {
    return [dropout](const Inputs& x) {
      const std::vector<LowRank> terms{
          {x[3], x[4], 0.5, dropout ? dropout_key(6) : DropoutKey{}},
          {x[5], x[6], -2.0, {}},
      };
      return linear(x[0], x[1], x[2], terms);
    };
  };
  const auto inputs = [](bool base, bool x, bool adapters) {
    const auto make = [](bool trained, Shape shape, uint64_t seed) {
      return trained ? leaf(shape, seed) : frozen(shape, seed);
    };
    return Inputs{make(x, {2, 3, 4}, 1),     make(base, {5, 4}, 2),     make(base, {5}, 3),
                  make(adapters, {2, 4}, 4), make(adapters, {5, 2}, 5), make(adapters, {3, 4}, 6),
                  make(adapters, {5, 3}, 7)};
  };
  for (const bool dropout : {false, true}) {
    check(with_terms(dropout), inputs(true, true, true));
    check(with_terms(dropout), inputs(false, true, true));
    check(with_terms(dropout), inputs(false, false, true));
    check(with_terms(dropout), inputs(false, true, false));
  }
  check([](const Inputs& x) { return linear(x[0], x[1], Variable()); },
        {leaf({3, 4}, 1), leaf({5, 4}, 2)});
}

TEST_CASE("gradcheck: checkpoint, also where only the parameters of the block need a gradient") {
  const auto block = [](const Inputs& x) {
    return checkpoint([w = x[1]](const Variable& in) { return mul(linear(in, w, Variable()), in); },
                      x[0]);
  };
  check(block, {leaf({3, 4}, 1), leaf({4, 4}, 2)});
  check(block, {frozen({3, 4}, 1), leaf({4, 4}, 2)});
}

TEST_CASE("gradcheck: the fused loss, its head and an adapter on it") {
  class Head final : public nn::LinearLike {
   public:
    Head(Variable w, Variable a, Variable b) : w_(w), a_(a), b_(b) {}
    Variable forward(const Variable& x, const nn::Context& context) const override {
      const LowRank term{a_, b_, 1.5, context.dropout.key(0.2, 9)};
      return linear(x, w_, Variable(), {&term, 1});
    }
    int64_t in_features() const override { return w_.shape()[1]; }
    int64_t out_features() const override { return w_.shape()[0]; }

   private:
    Variable w_, a_, b_;
  };
  const Tensor labels = Tensor::from<int64_t>({3, -100, 0, 6, 6, -100}, {2, 3});
  nn::Context context;
  const DropoutKey key = dropout_key(6);
  context.dropout = {.seed = 4, .step = 1, .sample = key.sample, .position = key.position};
  const auto loss = [&](const Inputs& x) {
    return nn::chunked_cross_entropy(x[0], labels, Head(x[1], x[2], x[3]), context).total;
  };
  check(loss, {leaf({2, 3, 4}, 1), leaf({7, 4}, 2), leaf({2, 4}, 3), leaf({7, 2}, 4)});
  check(loss, {leaf({2, 3, 4}, 1), frozen({7, 4}, 2), frozen({2, 4}, 3), frozen({7, 2}, 4)});
  check(loss, {frozen({2, 3, 4}, 1), frozen({7, 4}, 2), leaf({2, 4}, 3), leaf({7, 2}, 4)});
}

TEST_CASE("gradcheck: finds a wrong gradient") {
  const auto wrong = [](const Inputs& x) {
    return record("test_wrong", ops::scale(x[0].value(), 2), {x[0]},
                  [](const Grads& dy, Needs) -> Grads { return {ops::scale(dy[0], 2.1)}; });
  };
  const GradcheckResult result = gradcheck(wrong, {leaf({3}, 1)});
  CHECK_FALSE(result.passed);
  test::check_contains(result.message, "input 0 (3) entry 0");
}

TEST_CASE("gradcheck: no recorded operation is left out") {
  const char* source = std::getenv("GRAFT_TEST_SOURCE");
  REQUIRE(source != nullptr);
  const std::regex pattern("record(?:_always)?\\(\\s*\"([a-z0-9_]+)\"");
  size_t found = 0;
  for (const char* folder : {"autograd", "nn", "peft", "models"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(source) / folder)) {
      if (entry.path().extension() != ".cpp")
        continue;
      std::stringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      const std::string content = text.str();
      for (std::sregex_iterator it(content.begin(), content.end(), pattern), end; it != end; ++it) {
        ++found;
        CHECK_MESSAGE(checked_names().contains((*it)[1]), "'", (*it)[1].str(), "' of ",
                      entry.path().filename().string(), " has no gradcheck");
      }
    }
  }
  CHECK(found >= 12);
}

}  // namespace graft
