#include "graft/nn/kv_cache.h"
#include "graft/tensor/copy.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

using test::check_contains, test::message_of, test::random_tensor, test::same_bits;

constexpr int64_t heads = 2;
constexpr int64_t width = 3;

Tensor tokens(int64_t rows, int64_t count, uint64_t seed) {
  return random_tensor({rows, count, heads, width}, seed);
}

/// Tokens [begin, end) of one row.
Tensor part(const Tensor& x, int64_t row, int64_t begin, int64_t end) {
  return x.slice(0, row, row + 1).slice(1, begin, end);
}

}  // namespace

TEST_CASE("kv_cache: each row is written behind its own last token") {
  KvCache cache(1, 2, 10);
  const Tensor k = tokens(2, 4, 1);
  const Tensor v = tokens(2, 4, 2);
  CHECK(cache.append(0, k, v).keys.shape() == Shape{2, 4, heads, width});
  cache.advance({4, 1});
  CHECK(cache.lengths().to_vector() == std::vector<double>{4, 1});
  const Tensor next_k = tokens(2, 2, 3);
  const Tensor next_v = tokens(2, 2, 4);
  const auto [keys, values] = cache.append(0, next_k, next_v);
  CHECK(keys.shape() == Shape{2, 6, heads, width});
  CHECK(same_bits(part(keys, 0, 0, 4), part(k, 0, 0, 4)));
  CHECK(same_bits(part(keys, 0, 4, 6), part(next_k, 0, 0, 2)));
  CHECK(same_bits(part(keys, 1, 0, 1), part(k, 1, 0, 1)));
  CHECK(same_bits(part(keys, 1, 1, 3), part(next_k, 1, 0, 2)));
  CHECK(same_bits(part(values, 0, 4, 6), part(next_v, 0, 0, 2)));
  CHECK(same_bits(part(values, 1, 1, 3), part(next_v, 1, 0, 2)));
}

TEST_CASE("kv_cache: appending twice without advancing writes over the first") {
  KvCache cache(1, 1, 10);
  cache.append(0, tokens(1, 3, 1), tokens(1, 3, 1));
  const Tensor k = tokens(1, 2, 5);
  CHECK(same_bits(cache.append(0, k, k).keys.contiguous(), k));
}

TEST_CASE("kv_cache: growing keeps what is there and leaves no undefined numbers") {
  constexpr int64_t capacity = 300;
  KvCache cache(2, 2, capacity);
  const Tensor k = tokens(2, capacity, 1);
  for (int64_t begin = 0; begin < capacity; begin += 50) {
    const Tensor piece = k.slice(1, begin, begin + 50).contiguous();
    cache.append(0, piece, piece);
    const Tensor keys = cache.append(1, piece, piece).keys;
    for (const double number : keys.to_vector())
      REQUIRE(number == number);
    cache.advance({50, 10});
    CHECK(same_bits(part(keys, 0, 0, begin + 50), part(k, 0, 0, begin + 50)));
  }
  CHECK(cache.lengths().to_vector() == std::vector<double>{300, 60});
}

TEST_CASE("kv_cache: selecting keeps rows in the given order") {
  KvCache cache(2, 3, 10);
  const Tensor k = tokens(3, 4, 1);
  cache.append(0, k, k);
  cache.append(1, k, k);
  cache.advance({4, 2, 3});
  cache.select_rows({2, 0});
  CHECK(cache.rows() == 2);
  CHECK(cache.lengths().to_vector() == std::vector<double>{3, 4});
  for (const int64_t layer : {0, 1}) {
    const Tensor next = tokens(2, 1, 9);
    const Tensor keys = cache.append(layer, next, next).keys;
    CHECK(keys.shape() == Shape{2, 5, heads, width});
    CHECK(same_bits(part(keys, 0, 0, 3), part(k, 2, 0, 3)));
    CHECK(same_bits(part(keys, 0, 3, 4), part(next, 0, 0, 1)));
    CHECK(same_bits(part(keys, 1, 0, 4), part(k, 0, 0, 4)));
  }
  cache.select_rows({});
  CHECK(cache.rows() == 0);
}

TEST_CASE("kv_cache: lengths that were handed out stay as they were") {
  KvCache cache(1, 1, 4);
  const Tensor before = cache.lengths();
  cache.advance({3});
  CHECK(before.item() == 0);
  CHECK(cache.lengths().item() == 3);
}

TEST_CASE("kv_cache: what does not fit is said and changes nothing") {
  KvCache cache(1, 2, 4);
  const Tensor k = tokens(2, 3, 1);
  cache.append(0, k, k);
  cache.advance({3, 1});
  check_contains(message_of<ShapeError>([&] { cache.append(0, tokens(2, 2, 1), tokens(2, 2, 1)); }),
                 "kv_cache: 5 tokens in a row, room for 4");
  check_contains(message_of<ShapeError>([&] { cache.append(1, k, k); }), "layer 1 given");
  check_contains(message_of<ShapeError>([&] { cache.append(0, tokens(1, 1, 1), tokens(1, 1, 1)); }),
                 "(2,T,H,D) expected");
  check_contains(message_of<ShapeError>([&] {
                   cache.advance({1, 4});
                 }),
                 "row 1 has 1 tokens and gets 4, room for 4");
  check_contains(message_of<ShapeError>([&] { cache.advance({1}); }), "1 counts given for 2 rows");
  check_contains(message_of<ShapeError>([&] { cache.select_rows({2}); }), "row 2 selected");
  CHECK(cache.lengths().to_vector() == std::vector<double>{3, 1});
}

}  // namespace graft::nn
