#include <algorithm>
#include <cmath>

#include "graft/autograd/linear.h"
#include "graft/nn/loss.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

/// Σ -log softmax(hidden wᵀ)[label] in f64, the plain way.
double reference(const Tensor& hidden, const Tensor& w, const std::vector<int64_t>& labels) {
  const auto h = hidden.to_vector();
  const auto weights = w.to_vector();
  const auto width = static_cast<size_t>(w.dim(1));
  double loss = 0;
  for (size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] == ignored_label)
      continue;
    double total = 0;
    double chosen = 0;
    for (size_t v = 0; v < static_cast<size_t>(w.dim(0)); ++v) {
      double logit = 0;
      for (size_t d = 0; d < width; ++d)
        logit += h[row * width + d] * weights[v * width + d];
      total += std::exp(logit);
      if (v == static_cast<size_t>(labels[row]))
        chosen = logit;
    }
    loss += std::log(total) - chosen;
  }
  return loss;
}

struct Fixture {
  explicit Fixture(int64_t rows, DType dtype = DType::f32)
      : hidden(test::random_tensor({1, rows, 6}, 1, dtype)), head(6, 11) {
    set_requires_grad(head, false);
    for (const NamedMember& parameter : named_parameters(head))
      parameter.member->load(test::random_tensor({11, 6}, 2, dtype));
    for (int64_t i = 0; i < rows; ++i)
      labels.push_back(i % 3 == 1 ? ignored_label : i % 11);
  }
  Tensor label_tensor() const {
    return Tensor::from(labels, {1, static_cast<int64_t>(labels.size())});
  }

  Tensor hidden;
  Linear head;
  std::vector<int64_t> labels;
};

}  // namespace

TEST_CASE("chunked_cross_entropy: the sum, the count and each token's loss, over several chunks") {
  for (const int64_t rows : {1, 2, 700}) {
    const Fixture f(rows);
    const Loss loss =
        chunked_cross_entropy(Variable(f.hidden), f.label_tensor(), f.head, Context());
    const double expected = reference(f.hidden, f.head.weight().value(), f.labels);
    // Up to 470 f32 losses of about 3.
    CHECK(loss.total.value().item() == doctest::Approx(expected).epsilon(1e-6));
    CHECK(loss.tokens == std::ranges::count_if(f.labels, [](int64_t l) { return l >= 0; }));
    double sum = 0;
    for (const double value : loss.per_token.to_vector())
      sum += value;
    CHECK(sum == doctest::Approx(expected).epsilon(1e-6));
    if (rows > 1)
      CHECK(loss.per_token.to_vector()[1] == 0);
  }
}

TEST_CASE("chunked_cross_entropy: the gradient is that of the whole, for hidden and head") {
  Fixture f(600, DType::f64);
  set_requires_grad(f.head, true);
  Variable hidden(f.hidden, true);
  chunked_cross_entropy(hidden, f.label_tensor(), f.head, Context()).total.backward();
  // Central differences of a few entries of a sum over 400 rows.
  const auto at = [&](double step, bool of_head, int64_t entry) {
    Tensor h = f.hidden.clone();
    Tensor w = f.head.weight().value().clone();
    (of_head ? w : h).data<double>()[entry] += step;
    return reference(h, w, f.labels);
  };
  Variable weight = *static_cast<Variable*>(named_parameters(f.head)[0].member->variable());
  for (const int64_t entry : {0, 7, 13, 50}) {
    const double of_hidden = (at(1e-6, false, entry) - at(-1e-6, false, entry)) / 2e-6;
    CHECK(hidden.grad().data<double>()[entry] == doctest::Approx(of_hidden).epsilon(1e-6));
    const double of_head = (at(1e-6, true, entry) - at(-1e-6, true, entry)) / 2e-6;
    CHECK(weight.grad().data<double>()[entry] == doctest::Approx(of_head).epsilon(1e-6));
  }
}

TEST_CASE("chunked_cross_entropy: bf16 gradients of the head are summed in f32 and rounded once") {
  constexpr int64_t chunk = 256;
  constexpr int64_t chunks = 20;
  Fixture f(chunk * chunks, DType::bf16);
  for (size_t i = 0; i < f.labels.size(); ++i)
    f.labels[i] = static_cast<int64_t>(i % 11);
  set_requires_grad(f.head, true);
  Variable& weight = *named_parameters(f.head)[0].member->variable();
  const auto gradient = [&](int64_t begin, int64_t end) {
    const Tensor labels = f.label_tensor().slice(1, begin, end);
    const Variable hidden(f.hidden.slice(1, begin, end));
    chunked_cross_entropy(hidden, labels, f.head, Context()).total.backward();
    return weight.take_grad();
  };
  Tensor sum = Tensor::zeros({11, 6});
  for (int64_t i = 0; i < chunks; ++i)
    ops::add_(sum, gradient(i * chunk, (i + 1) * chunk).to(DType::f32));
  CHECK(test::same_bits(gradient(0, chunk * chunks), sum.to(DType::bf16)));
}

TEST_CASE("chunked_cross_entropy: nothing to score is a loss of zero without gradient") {
  Fixture f(4);
  std::ranges::fill(f.labels, ignored_label);
  Variable hidden(f.hidden, true);
  const Loss loss = chunked_cross_entropy(hidden, f.label_tensor(), f.head, Context());
  CHECK(loss.tokens == 0);
  CHECK(loss.total.value().item() == 0);
  loss.total.backward();
  CHECK(hidden.grad().to_vector() == std::vector<double>(24, 0.0));
}

TEST_CASE("chunked_cross_entropy: never holds the logits of more than one chunk") {
  const Fixture f(5000);
  Linear wide(6, 4096);
  named_parameters(wide)[0].member->load(test::random_tensor({4096, 6}, 3));
  Allocator& memory = allocator(cpu);
  memory.reset_peak();
  const int64_t before = memory.stats().current;
  chunked_cross_entropy(Variable(f.hidden, true), f.label_tensor(), wide, Context());
  // Two chunks' worth of 256 x 4096 f32 and what belongs to the hidden states, not 3334 x 4096.
  CHECK(memory.stats().peak - before < 3 * 256 * 4096 * 4);
}

TEST_CASE("chunked_cross_entropy: a label outside the vocabulary is named") {
  Fixture f(2);
  f.labels[0] = 11;
  test::check_contains(
      test::message_of<ShapeError>(
          [&] { chunked_cross_entropy(Variable(f.hidden), f.label_tensor(), f.head, Context()); }),
      "label 11 given; -100 or 0 to 10 expected");
}

}  // namespace graft::nn
