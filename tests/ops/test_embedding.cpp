#include "graft/tensor/embedding.h"
#include "graft/tests/support/test.h"
#include "graft/tests/support/threads.h"

namespace graft {

TEST_CASE("embedding: looks rows up and keeps the shape of the ids") {
  const Tensor table = test::random_tensor({5, 3}, 1);
  const Tensor rows = ops::embedding(table, Tensor::from<int64_t>({4, 0, 4, 2}, {2, 2}));
  CHECK(rows.shape() == Shape{2, 2, 3});
  CHECK(test::same_bits(rows.slice(0, 1, 2).slice(1, 0, 1).contiguous().view({1, 3}),
                        table.slice(0, 4, 5)));
}

TEST_CASE("embedding_backward: bf16 gradients of one row are summed in f32 and rounded once") {
  // Added up in bf16, a sum of ones stops at 256.
  const Tensor dy = Tensor::full({512, 2}, 1, DType::bf16);
  const Tensor grad = ops::embedding_backward(dy, Tensor::zeros({512}, DType::i64), 2);
  CHECK(grad.to_vector() == std::vector<double>{512, 512, 0, 0});
}

TEST_CASE("embedding: the bits do not depend on the number of threads, forward or backward") {
  const Tensor table = test::random_tensor({5, 300}, 1);
  const Tensor dy = test::random_tensor({400, 300}, 2);
  std::vector<int64_t> values(400);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int64_t>(i * i % 5);
  const Tensor ids = Tensor::from(values, {400});
  test::check_threads_agree([&] {
    return std::vector<Tensor>{ops::embedding(table, ids), ops::embedding_backward(dy, ids, 5)};
  });
}

TEST_CASE("embedding: an id outside the table is named") {
  const Tensor table = Tensor::zeros({5, 3});
  for (const int64_t id : {int64_t{-1}, int64_t{5}})
    test::check_contains(test::message_of<ShapeError>(
                             [&] { ops::embedding(table, Tensor::from<int64_t>({id}, {1})); }),
                         concat("id ", id, " given, the table has 5 rows"));
}

}  // namespace graft
