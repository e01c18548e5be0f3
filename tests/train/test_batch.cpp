#include "graft/tests/support/test.h"
#include "graft/train/batch.h"

namespace graft::train {
namespace {

const std::vector<text::Sample> three{
    {{5, 6, 7}, {-100, 6, 7}, 11}, {{8}, {8}, 12}, {{9, 10}, {9, 10}, 0}};

std::string refusal(std::vector<text::Sample> samples) {
  return test::message_of<ConfigError>([&] { check_samples("training data", samples, 20); });
}

}  // namespace

TEST_CASE("batch: rows are padded on the right to the longest, without labels") {
  const Batch batch = make_batch(three, std::vector<int64_t>{2, 0});
  CHECK(test::same_bits(batch.ids, Tensor::from<int64_t>({9, 10, 0, 5, 6, 7}, {2, 3})));
  CHECK(test::same_bits(batch.labels, Tensor::from<int64_t>({9, 10, -100, -100, 6, 7}, {2, 3})));
  CHECK(test::same_bits(batch.sample, Tensor::from<int64_t>({2, 2, 2, 0, 0, 0}, {6})));
  CHECK(test::same_bits(batch.position, Tensor::from<int64_t>({0, 1, 0, 0, 1, 2}, {6})));
  CHECK(batch.tokens == 3);
  CHECK(batch.input_tokens == 5);
  CHECK(batch.names == std::vector<std::string>{"sample 2", "line 11"});
  CHECK_FALSE(batch.segments.defined());
  CHECK_FALSE(batch.context().positions.defined());
}

TEST_CASE("batch: packed samples are segments, positions restart, no sample predicts the next") {
  const Rows rows = Rows::packed(three, 5);  // {0, 2} would fit with 5 tokens, {0, 1} come first
  const Batch batch = make_batch(three, rows, std::vector<int64_t>{1, 0});
  CHECK(test::same_bits(batch.ids, Tensor::from<int64_t>({9, 10, 0, 0, 5, 6, 7, 8}, {2, 4})));
  CHECK(test::same_bits(batch.labels,
                        Tensor::from<int64_t>({9, 10, -100, -100, -100, 6, 7, -100}, {2, 4})));
  CHECK(test::same_bits(batch.segments, Tensor::from<int64_t>({0, 0, 1, 1, 0, 0, 0, 1}, {2, 4})));
  CHECK(test::same_bits(batch.sample, Tensor::from<int64_t>({2, 2, 2, 2, 0, 0, 0, 1}, {8})));
  CHECK(test::same_bits(batch.position, Tensor::from<int64_t>({0, 1, 0, 1, 0, 1, 2, 0}, {8})));
  CHECK(test::same_bits(batch.context().positions,
                        Tensor::from<int64_t>({0, 1, 0, 1, 0, 1, 2, 0}, {2, 4})));
  CHECK(test::same_bits(batch.training_context(1, 2, false).segments, batch.segments));
  CHECK(batch.tokens == 3);
  CHECK(batch.input_tokens == 6);
  CHECK(batch.names == std::vector<std::string>{"sample 2", "line 11, line 12"});
}

TEST_CASE("batch: the first label of a sample never counts") {
  CHECK(count_trained_tokens(three[0]) == 2);
  CHECK(count_trained_tokens(three[1]) == 0);
  CHECK(count_trained_tokens(three[2]) == 1);
  CHECK(count_trained_tokens({}) == 0);
}

TEST_CASE("batch: a training context switches dropout on, keyed by sample and position") {
  const Batch batch = make_batch(three, std::vector<int64_t>{0});
  const nn::Context context = batch.training_context(7, 3, true);
  CHECK(context.train);
  CHECK(context.checkpoint_blocks);
  CHECK(context.dropout.seed == 7);
  CHECK(context.dropout.step == 3);
  CHECK(test::same_bits(context.dropout.sample, batch.sample));
  CHECK(test::same_bits(context.dropout.position, batch.position));
}

TEST_CASE("batch: a sample that cannot be trained on is refused by its line") {
  check_samples("training data", std::vector<text::Sample>{three[0], three[2]}, 20);
  test::check_contains(refusal({}), "training data: no samples given");
  test::check_contains(refusal(three), "training data, line 12: no token after the first one");
  test::check_contains(refusal({{{}, {}, 3}}), "line 3: there are no tokens");
  test::check_contains(refusal({{{1, 2}, {1}, 3}}), "line 3: 2 tokens and 1 labels given");
  test::check_contains(refusal({{{1, 20}, {1, 2}, 3}}),
                       "line 3: token 20 given; the model has tokens 0 to 19");
  test::check_contains(refusal({{{1, -1}, {1, 2}, 3}}), "token -1 given");
  test::check_contains(refusal({{{1, 2}, {1, -7}, 3}}), "line 3: label -7 given; -100 or a token");
  test::check_contains(refusal({three[0], {{1, 2}, {1, -100}, 0}}), "sample 1: no token");
}

}  // namespace graft::train
