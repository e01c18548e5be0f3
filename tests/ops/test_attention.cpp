#include <cmath>

#include "graft/tensor/attention.h"
#include "graft/tensor/copy.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {
namespace {

using test::random_tensor;

bool sees(const AttentionMask& mask, int64_t row, int64_t query, int64_t key, int64_t queries,
          int64_t keys) {
  const int64_t start =
      mask.start.defined() ? mask.start.span<int64_t>()[static_cast<size_t>(row)] : keys - queries;
  const int64_t last = start + query;
  if (key > last || (mask.window > 0 && key <= last - mask.window))
    return false;
  if (!mask.segments.defined())
    return true;
  const int64_t* segments = mask.segments.data<int64_t>() + row * keys;
  return segments[key] == segments[last];
}

/// The definition, with the whole matrix of scores, in f64.
Tensor reference(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionMask& mask,
                 double scale) {
  const int64_t batch = q.dim(0), queries = q.dim(1), heads = q.dim(2), width = q.dim(3);
  const int64_t keys = k.dim(1), kv_heads = k.dim(2);
  const auto at = [](const std::vector<double>& x, const Tensor& t, int64_t b, int64_t i, int64_t h,
                     int64_t d) {
    return x[static_cast<size_t>(((b * t.dim(1) + i) * t.dim(2) + h) * t.dim(3) + d)];
  };
  const auto qs = q.to_vector(), ks = k.to_vector(), vs = v.to_vector();
  Tensor out = Tensor::zeros(q.shape(), DType::f64);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < queries; ++i) {
        double total = 0;
        std::vector<double> sums(static_cast<size_t>(width));
        for (int64_t j = 0; j < keys; ++j) {
          if (!sees(mask, b, i, j, queries, keys))
            continue;
          double score = 0;
          for (int64_t d = 0; d < width; ++d)
            score += at(qs, q, b, i, h, d) * at(ks, k, b, j, h / (heads / kv_heads), d);
          const double weight = std::exp(scale * score);
          total += weight;
          for (int64_t d = 0; d < width; ++d)
            sums[static_cast<size_t>(d)] += weight * at(vs, v, b, j, h / (heads / kv_heads), d);
        }
        for (int64_t d = 0; d < width; ++d)
          out.data<double>()[((b * queries + i) * heads + h) * width + d] =
              total > 0 ? sums[static_cast<size_t>(d)] / total : 0;
      }
    }
  }
  return out;
}

Tensor ids(const std::vector<int64_t>& values, Shape shape) {
  return Tensor::from(values, shape);
}

}  // namespace

TEST_CASE("attention: agrees with the definition over block borders, masks and group sizes") {
  struct Case {
    int64_t batch, queries, keys, heads, kv_heads, width, window;
  };
  for (const auto [batch, queries, keys, heads, kv_heads, width, window] :
       {Case{1, 1, 1, 1, 1, 2, 0},
        {2, 7, 7, 4, 2, 6, 0},
        {1, 65, 65, 2, 1, 8, 0},
        {1, 130, 130, 3, 3, 5, 0},
        {2, 1, 70, 4, 2, 8, 0},
        {1, 100, 100, 2, 2, 4, 10},
        {1, 5, 90, 2, 1, 4, 70},
        {2, 49, 300, 4, 2, 40, 0},
        {1, 97, 129, 2, 1, 33, 60},
        {1, 48, 128, 1, 1, 64, 0}}) {
    const Tensor q = random_tensor({batch, queries, heads, width}, 1);
    const Tensor k = random_tensor({batch, keys, kv_heads, width}, 2);
    const Tensor v = random_tensor({batch, keys, kv_heads, width}, 3);
    const AttentionMask mask{.window = window};
    const Tensor expected = reference(q, k, v, mask, 0.4);
    test::for_each_kernel(attention_slot, [&] {
      // f32 sums of up to 300 terms of size 1, and scores of up to 20 in the exponents.
      CHECK(test::max_difference(ops::attention(q, k, v, mask, 0.4).out, expected) < 4e-6);
    });
  }
}

TEST_CASE(
    "attention: a window holds for each query at its own place, in rows of different length") {
  const Tensor q = random_tensor({3, 4, 4, 6}, 1);
  const Tensor k = random_tensor({3, 200, 2, 6}, 2);
  const Tensor v = random_tensor({3, 200, 2, 6}, 3);
  for (const int64_t window : {1, 2, 63, 64, 65, 150, 500}) {
    const AttentionMask mask{.start = ids({196, 64, 0}, {3}), .window = window};
    CAPTURE(window);
    test::for_each_kernel(attention_slot, [&] {
      CHECK(test::max_difference(ops::attention(q, k, v, mask, 0.4).out,
                                 reference(q, k, v, mask, 0.4)) < 2e-6);
    });
  }
}

TEST_CASE("attention: tokens one by one with a cache see what they see together") {
  const Tensor q = random_tensor({1, 150, 2, 6}, 1);
  const Tensor k = random_tensor({1, 150, 1, 6}, 2);
  const Tensor v = random_tensor({1, 150, 1, 6}, 3);
  const Tensor together = ops::attention(q, k, v, {.window = 70}, 0.4).out;
  for (int64_t t = 0; t < 150; ++t) {
    const AttentionMask mask{.start = ids({t}, {1}), .window = 70};
    const Tensor alone =
        ops::attention(q.slice(1, t, t + 1), k.slice(1, 0, t + 1), v.slice(1, 0, t + 1), mask, 0.4)
            .out;
    // The same sums in another order.
    REQUIRE(test::max_difference(alone, together.slice(1, t, t + 1)) < 2e-6);
  }
}

TEST_CASE("attention: tiles outside the window are not read, forward or backward") {
  // What lies more than a tile before the window, or behind the last query that sees a key, is NaN.
  constexpr int64_t length = 400;
  const AttentionMask mask{.window = 10};
  const Tensor q = random_tensor({1, length, 1, 4}, 1);
  const Tensor k = random_tensor({1, length, 1, 4}, 2);
  const Tensor v = random_tensor({1, length, 1, 4}, 3);
  const auto forward = ops::attention(q, k, v, mask, 0.4);
  const auto spoilt = [](const Tensor& x, int64_t begin, int64_t end) {
    Tensor copy = x.clone();
    Tensor part = copy.slice(1, begin, end);
    ops::fill_(part, std::nan(""));
    return copy;
  };
  test::for_each_kernel(attention_slot, [&] {
    const Tensor out = ops::attention(q, spoilt(k, 0, 190), spoilt(v, 0, 190), mask, 0.4).out;
    CHECK(test::max_difference(out.slice(1, 330, length), forward.out.slice(1, 330, length)) <
          2e-6);
  });
  test::for_each_kernel(attention_backward_slot, [&] {
    const auto [dq, dk, dv] = ops::attention_backward(q, q, k, v, mask, 0.4, forward);
    const auto of_queries =
        ops::attention_backward(q, q, spoilt(k, 0, 190), spoilt(v, 0, 190), mask, 0.4, forward);
    CHECK(test::max_difference(of_queries.dq.slice(1, 330, length), dq.slice(1, 330, length)) <
          2e-6);
    const auto of_keys = ops::attention_backward(spoilt(q, 200, length), spoilt(q, 200, length), k,
                                                 v, mask, 0.4, forward);
    CHECK(test::max_difference(of_keys.dk.slice(1, 0, 60), dk.slice(1, 0, 60)) < 2e-5);
    CHECK(test::max_difference(of_keys.dv.slice(1, 0, 60), dv.slice(1, 0, 60)) < 2e-5);
  });
}

TEST_CASE("attention: rows of different length, and queries that see nothing") {
  const Tensor q = random_tensor({2, 3, 2, 4}, 1);
  const Tensor k = random_tensor({2, 10, 1, 4}, 2);
  const Tensor v = random_tensor({2, 10, 1, 4}, 3);
  const AttentionMask mask{.start = ids({5, 0}, {2})};
  CHECK(test::max_difference(ops::attention(q, k, v, mask, 1).out, reference(q, k, v, mask, 1)) <
        2e-6);
  const AttentionMask before{.start = ids({-2, -9}, {2})};
  const auto blind = ops::attention(q, k, v, before, 1).out;
  CHECK(test::max_difference(blind, reference(q, k, v, before, 1)) < 2e-6);
}

TEST_CASE("attention: segments keep documents of one row apart") {
  std::vector<int64_t> documents(80);
  for (size_t i = 0; i < documents.size(); ++i)
    documents[i] = i < 30 ? 0 : i < 31 ? 1 : 2;
  const Tensor q = random_tensor({1, 80, 2, 4}, 1);
  const Tensor k = random_tensor({1, 80, 2, 4}, 2);
  const Tensor v = random_tensor({1, 80, 2, 4}, 3);
  const AttentionMask mask{.segments = ids(documents, {1, 80})};
  const Tensor out = ops::attention(q, k, v, mask, 1).out;
  CHECK(test::max_difference(out, reference(q, k, v, mask, 1)) < 2e-6);
  const auto alone =
      ops::attention(q.slice(1, 31, 80), k.slice(1, 31, 80), v.slice(1, 31, 80), {}, 1);
  CHECK(test::max_difference(out.slice(1, 31, 80), alone.out) < 2e-6);
}

TEST_CASE("attention: gradients agree with f64 on every instruction set") {
  struct Case {
    int64_t queries, keys, heads, kv_heads, width, window;
    bool segments;
  };
  for (const auto [queries, keys, heads, kv_heads, width, window, segments] :
       {Case{9, 9, 1, 1, 3, 0, false},
        {130, 130, 2, 2, 32, 0, false},
        {97, 97, 4, 2, 40, 0, true},
        {60, 200, 2, 1, 5, 0, false},
        {150, 150, 3, 1, 64, 50, false}}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(queries);
      CAPTURE(keys);
      CAPTURE(dtype);
      const Tensor q = random_tensor({2, queries, heads, width}, 1, dtype);
      const Tensor k = random_tensor({2, keys, kv_heads, width}, 2, dtype);
      const Tensor v = random_tensor({2, keys, kv_heads, width}, 3, dtype);
      const Tensor dout = random_tensor({2, queries, heads, width}, 4, dtype);
      AttentionMask mask{.window = window};
      if (segments) {
        std::vector<int64_t> documents(static_cast<size_t>(2 * keys));
        for (size_t i = 0; i < documents.size(); ++i)
          documents[i] = static_cast<int64_t>(i % static_cast<size_t>(keys) / 37);
        mask.segments = ids(documents, {2, keys});
      }
      const auto wide = [](const Tensor& x) { return x.to(DType::f64); };
      const double scale = 1 / std::sqrt(static_cast<double>(width));
      const auto exact = ops::attention(wide(q), wide(k), wide(v), mask, scale);
      const auto expected =
          ops::attention_backward(wide(dout), wide(q), wide(k), wide(v), mask, scale, exact);
      // f32: sums of up to 200 terms. bf16: the result of the forward pass, which the gradients
      // start from, and they themselves are rounded to 8 bits.
      const double tolerance = dtype == DType::f32 ? 4e-6 : 1.2e-2;
      test::for_each_kernel(attention_backward_slot, [&] {
        const auto forward = ops::attention(q, k, v, mask, scale);
        const auto [dq, dk, dv] = ops::attention_backward(dout, q, k, v, mask, scale, forward);
        CHECK(test::relative_difference(dq, expected.dq) < tolerance);
        CHECK(test::relative_difference(dk, expected.dk) < tolerance);
        CHECK(test::relative_difference(dv, expected.dv) < tolerance);
      });
    }
  }
}

TEST_CASE("attention: reads views of one projection in place") {
  const Tensor packed = random_tensor({2, 9, 3, 8}, 1);
  const Tensor q = packed.slice(2, 0, 2), k = packed.slice(2, 1, 2), v = packed.slice(2, 2, 3);
  CHECK(test::max_difference(ops::attention(q, k, v, {}, 1).out, reference(q, k, v, {}, 1)) < 2e-6);
}

TEST_CASE("attention: bf16 rounds only its input and its result") {
  const Tensor q = random_tensor({1, 70, 2, 8}, 1, DType::bf16);
  const Tensor k = random_tensor({1, 70, 2, 8}, 2, DType::bf16);
  const Tensor v = random_tensor({1, 70, 2, 8}, 3, DType::bf16);
  // 8 bits of mantissa on results up to about 3.
  CHECK(test::max_difference(ops::attention(q, k, v, {}, 0.4).out, reference(q, k, v, {}, 0.4)) <
        0x1p-7);
}

TEST_CASE("attention: the bits do not depend on the number of threads") {
  const Tensor q = random_tensor({2, 100, 4, 8}, 1);
  const Tensor k = random_tensor({2, 100, 2, 8}, 2);
  const Tensor v = random_tensor({2, 100, 2, 8}, 3);
  const Tensor dout = random_tensor({2, 100, 4, 8}, 4);
  test::check_threads_agree([&] {
    const auto forward = ops::attention(q, k, v, {}, 0.4);
    const auto [dq, dk, dv] = ops::attention_backward(dout, q, k, v, {}, 0.4, forward);
    return std::vector<Tensor>{forward.out, dq, dk, dv};
  });
}

TEST_CASE("attention: what is not finite stays visible, forward and backward") {
  for (const double bad : {std::nan(""), 1e30}) {
    for (const int64_t length : {2, 20}) {
      Tensor q = random_tensor({1, length, 1, 4}, 1);
      const Tensor k = Tensor::full({1, length, 1, 4}, 1e30);
      const Tensor v = random_tensor({1, length, 1, 4}, 3);
      ops::fill_(q, bad);
      test::for_each_kernel(attention_slot, [&] {
        CHECK(std::isnan(ops::attention(q, k, v, {}, 1).out.to_vector()[0]));
      });
      const auto forward = ops::attention(q, k, v, {}, 1);
      test::for_each_kernel(attention_backward_slot, [&] {
        const auto [dq, dk, dv] = ops::attention_backward(v, q, k, v, {}, 1, forward);
        CHECK(std::isnan(dv.to_vector()[0]));
      });
    }
  }
}

TEST_CASE("attention: no queries leave zeros as the gradients of keys and values") {
  const Tensor q = Tensor::empty({1, 0, 2, 4});
  const Tensor k = random_tensor({1, 3, 2, 4}, 1);
  const auto forward = ops::attention(q, k, k, {}, 1);
  const auto [dq, dk, dv] = ops::attention_backward(q, q, k, k, {}, 1, forward);
  CHECK(dk.to_vector() == std::vector<double>(24, 0.0));
  CHECK(dv.to_vector() == std::vector<double>(24, 0.0));
}

TEST_CASE("attention: says what does not fit") {
  const Tensor q = Tensor::zeros({1, 2, 3, 4});
  test::check_contains(
      test::message_of<ShapeError>([&] {
        ops::attention(q, Tensor::zeros({1, 2, 2, 4}), Tensor::zeros({1, 2, 2, 4}), {}, 1);
      }),
      "query heads be a multiple of key heads");
  test::check_contains(
      test::message_of<ShapeError>([&] {
        ops::attention(q, Tensor::zeros({1, 1, 3, 4}), Tensor::zeros({1, 1, 3, 4}), {}, 1);
      }),
      "2 queries for 1 keys");
}

}  // namespace graft
