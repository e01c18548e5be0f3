#include <algorithm>
#include <cmath>
#include <numeric>

#include "graft/nn/loss.h"
#include "graft/tests/train/run.h"
#include "graft/train/rows.h"

namespace graft::train {
namespace {

/// Samples with so many tokens each.
std::vector<text::Sample> of_lengths(const std::vector<size_t>& lengths) {
  std::vector<text::Sample> samples;
  for (const size_t length : lengths)
    samples.push_back({std::vector<int64_t>(length, 1), std::vector<int64_t>(length, 1),
                       std::ssize(samples) + 1});
  return samples;
}

std::vector<std::vector<int64_t>> lists(const Rows& rows) {
  std::vector<std::vector<int64_t>> result;
  for (int64_t row = 0; row < rows.size(); ++row)
    result.emplace_back(rows[row].begin(), rows[row].end());
  return result;
}

std::vector<int64_t> all_of(int64_t count) {
  std::vector<int64_t> numbers(static_cast<size_t>(count));
  std::iota(numbers.begin(), numbers.end(), int64_t{0});
  return numbers;
}

/// Loss and gradients of a whole training forward, as a step of the Trainer makes them.
struct Outcome {
  double loss = 0;
  int64_t tokens = 0;
  Grads grads;
};

Outcome outcome_of(TinyRun& run, const Batch& batch) {
  const nn::Loss loss =
      nn::causal_lm_loss(run.model, batch.ids, batch.labels, batch.training_context(5, 3, false));
  loss.total.backward();
  return {loss.total.value().item(), loss.tokens, run.adamw.take_grads()};
}

/// Makes no B matrix zero, so that every gradient is there and dropout matters.
void leave_zero(TinyRun& run) {
  uint64_t seed = 1;
  for (auto [name, variable] : run.model.trainable_parameters())
    variable.set_value(test::random_tensor(variable.shape(), seed++));
}

}  // namespace

TEST_CASE("packing: each sample goes into the first row with room, in their order") {
  const auto samples = of_lengths({5, 4, 3, 2, 6, 1, 1});
  CHECK(lists(Rows::packed(samples, 8)) ==
        std::vector<std::vector<int64_t>>{{0, 2}, {1, 3, 5, 6}, {4}});
  CHECK(lists(Rows::packed(samples, 6)) ==
        std::vector<std::vector<int64_t>>{{0, 5}, {1, 3}, {2, 6}, {4}});
  CHECK(lists(Rows::packed(samples, 100)) == std::vector<std::vector<int64_t>>{all_of(7)});
  CHECK(lists(Rows::one_each(3)) == std::vector<std::vector<int64_t>>{{0}, {1}, {2}});
  CHECK(Rows::packed(std::vector<text::Sample>{}, 8).size() == 0);
}

TEST_CASE("packing: first fit of many samples is what trying the rows one by one gives") {
  std::vector<size_t> lengths;
  for (uint64_t i = 0, state = 7; i < 500; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    lengths.push_back(1 + (state >> 33) % 40);
  }
  std::vector<std::vector<int64_t>> expected;
  std::vector<size_t> used;
  for (size_t i = 0; i < lengths.size(); ++i) {
    size_t row = 0;
    while (row < used.size() && used[row] + lengths[i] > 64)
      ++row;
    if (row == used.size()) {
      used.push_back(0);
      expected.emplace_back();
    }
    used[row] += lengths[i];
    expected[row].push_back(static_cast<int64_t>(i));
  }
  CHECK(lists(Rows::packed(of_lengths(lengths), 64)) == expected);
}

TEST_CASE("packing: a sample that is longer than a row is refused by its line") {
  test::check_contains(test::message_of<ConfigError>([] {
                         Rows::packed(of_lengths({3, 9, 2}), 8);
                       }),
                       "packing: line 2 has 9 tokens, at most 8 expected");
}

TEST_CASE("packing: loss and gradients are those of rows of their own, with dropout too") {
  const auto samples = golden_samples(12);
  for (const double dropout : {0.0, 0.3}) {
    CAPTURE(dropout);
    TinyRun run(dropout);
    leave_zero(run);
    const Rows rows = Rows::packed(samples, 64);
    REQUIRE(rows.size() < 8);
    const Outcome alone = outcome_of(run, make_batch(samples, all_of(12)));
    const Outcome packed = outcome_of(run, make_batch(samples, rows, all_of(rows.size())));
    CHECK(packed.tokens == alone.tokens);
    // f32: sums over other numbers of rows, seven digits.
    CHECK(packed.loss == doctest::Approx(alone.loss).epsilon(1e-6));
    REQUIRE(packed.grads.size() == alone.grads.size());
    for (size_t i = 0; i < alone.grads.size(); ++i) {
      CAPTURE(run.adamw.parameters()[i].name);
      // f32 as well; what reaches q and k are differences of the softmax, which lose a digit.
      CHECK(test::relative_difference(packed.grads[i], alone.grads[i]) < 5e-5);
    }
  }
}

TEST_CASE("packing: with the segments left out the samples see each other, which shows") {
  const auto samples = golden_samples(12);
  TinyRun run(0);
  leave_zero(run);
  const Rows rows = Rows::packed(samples, 64);
  Batch batch = make_batch(samples, rows, all_of(rows.size()));
  const double apart = outcome_of(run, batch).loss;
  batch.segments = Tensor();
  CHECK(std::fabs(outcome_of(run, batch).loss / apart - 1) > 1e-4);
}

TEST_CASE("packing: a run of whole-epoch steps is the run without packing") {
  const auto samples = golden_samples(12);
  const auto losses = [&](const TrainOptions& options) {
    TinyRun run(0.1, 1e-4);  // AdamW makes whole steps of gradients that are all rounding
    leave_zero(run);
    Watcher watcher;
    Trainer(run.model, run.adamw, samples, options, {.observer = &watcher}).run();
    std::vector<double> result;
    for (const StepRecord& step : watcher.steps) {
      CHECK(step.input_tokens == watcher.steps[0].input_tokens);
      result.push_back(step.loss);
    }
    return result;
  };
  const auto alone = losses({.batch_size = 4, .grad_accum = 3, .max_steps = 4});
  const auto packed =
      losses({.batch_size = 1, .grad_accum = 100, .max_steps = 4, .row_tokens = 64});
  REQUIRE(alone.size() == 4);
  REQUIRE(packed.size() == 4);
  for (size_t i = 0; i < 4; ++i)
    CHECK(packed[i] == doctest::Approx(alone[i]).epsilon(1e-5));  // four steps of f32 rounding
}

TEST_CASE("packing: steps count rows, and a run goes on bit for bit where it was stopped") {
  const auto samples = golden_samples(20);
  const TrainOptions options{.batch_size = 1, .epochs = 2, .row_tokens = 64};
  const int64_t rows = rows_of(samples, options).size();
  REQUIRE(rows > 3);
  REQUIRE(rows < 20);
  TinyRun whole, parts;
  CHECK(Trainer(whole.model, whole.adamw, samples, options).run().total_steps == 2 * rows);
  const test::TemporaryFolder folder;
  CheckpointStore store(folder / "run", parts.files);
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& step) {
    watcher.wish = step.step == rows - 1 ? Request::stop : Request::none;
  };
  Trainer(parts.model, parts.adamw, samples, options, {.observer = &watcher, .checkpoints = &store})
      .run();
  TinyRun again;
  CheckpointStore reopened(folder / "run", again.files);
  Trainer trainer(again.model, again.adamw, samples, options, {.checkpoints = &reopened});
  CHECK(trainer.resume());
  trainer.run();
  CHECK(same_bits(numbers_of(again.adamw), numbers_of(whole.adamw)));

  TinyRun other;
  CheckpointStore elsewhere(folder / "run", other.files);
  TrainOptions wider = options;
  wider.row_tokens = 80;
  Trainer another(other.model, other.adamw, samples, wider, {.checkpoints = &elsewhere});
  test::check_contains(test::message_of<ConfigError>([&] { another.resume(); }),
                       "packing is rows of 64 tokens there, rows of 80 tokens here");
}

}  // namespace graft::train
