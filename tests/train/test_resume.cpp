#include <algorithm>
#include <cmath>

#include "graft/tensor/parallel.h"
#include "graft/tests/train/run.h"

namespace graft::train {
namespace {

/// Three epochs of 11 samples, 2 steps each, the last one short: order, dropout, accumulation,
/// schedule, evaluation and the best so far all have to be taken up again.
const TrainOptions options{.batch_size = 3,
                           .grad_accum = 2,
                           .epochs = 4,
                           .warmup_steps = 2,
                           .eval_steps = 2,
                           .save_steps = 3,
                           .seed = 5};

struct Outcome {
  std::vector<Tensor> numbers;
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
  TrainerState state;
};

/// Goes on in `folder`, from nothing or from what is there, until the step `stop_after` (or the
/// end).
Outcome go_on(const std::filesystem::path& folder, int64_t stop_after,
              const TrainOptions& settings = options) {
  const auto all = golden_samples();
  const auto samples = std::span(all).first(11);
  TinyRun run(0.1);
  CheckpointStore store(folder, run.files);
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& record) {
    if (record.step == stop_after)
      watcher.wish = Request::stop;
  };
  Trainer trainer(
      run.model, run.adamw, samples, settings,
      {.validation = std::span(all).last(4), .observer = &watcher, .checkpoints = &store});
  trainer.resume();
  const RunResult result = trainer.run();
  CHECK(watcher.warnings.empty());
  return {numbers_of(run.adamw), watcher.steps, watcher.evaluations, result.state};
}

void check_same_records(const std::vector<StepRecord>& a, std::span<const StepRecord> b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].step == b[i].step);
    CHECK(a[i].epoch == b[i].epoch);
    CHECK(a[i].loss == b[i].loss);
    CHECK(a[i].grad_norm == b[i].grad_norm);
    CHECK(a[i].lr == b[i].lr);
    CHECK(a[i].tokens == b[i].tokens);
  }
}

}  // namespace

TEST_CASE("resume: stopped at any step and continued, a run ends with the same bits") {
  const test::TemporaryFolder whole_folder;
  const Outcome whole = go_on(whole_folder / "run", -1);
  const auto steps = static_cast<int64_t>(whole.steps.size());
  REQUIRE(steps == 8);
  for (int64_t stop = 1; stop < steps; ++stop) {
    CAPTURE(stop);
    const test::TemporaryFolder folder;
    const Outcome first = go_on(folder / "run", stop);
    CHECK(first.state.step == stop);
    check_same_records(first.steps, std::span(whole.steps).first(static_cast<size_t>(stop)));
    const Outcome second = go_on(folder / "run", -1);
    check_same_records(second.steps, std::span(whole.steps).subspan(static_cast<size_t>(stop)));
    CHECK(same_bits(second.numbers, whole.numbers));
    CHECK(second.state == whole.state);
    CHECK(first.evaluations.size() + second.evaluations.size() == whole.evaluations.size());
    CHECK(second.evaluations.back().result.loss == whole.evaluations.back().result.loss);
  }
}

TEST_CASE("resume: a run that is stopped after every step ends with the same bits") {
  const test::TemporaryFolder folder;
  const Outcome whole = go_on(folder / "whole", -1);
  Outcome last;
  for (int64_t step = 1; step <= 8; ++step)
    last = go_on(folder / "often", step);
  last = go_on(folder / "often", -1);
  CHECK(last.steps.empty());
  CHECK(same_bits(last.numbers, whole.numbers));
  CHECK(last.state == whole.state);
}

TEST_CASE("resume: a killed run goes on from its last saved step") {
  const test::TemporaryFolder folder;
  const Outcome whole = go_on(folder / "whole", -1);
  go_on(folder / "killed", 7);
  // As if it had been killed after step 7: what was saved then is not there.
  std::filesystem::remove_all(folder / "killed/step-7");
  const Outcome second = go_on(folder / "killed", -1);
  REQUIRE(second.steps.size() == 2);
  CHECK(second.steps[0].step == 7);
  CHECK(same_bits(second.numbers, whole.numbers));
}

TEST_CASE("resume: another number of threads and recomputed blocks do not matter") {
  const test::TemporaryFolder folder;
  const int before = thread_count();
  set_thread_count(1);
  const Outcome whole = go_on(folder / "whole", -1);
  go_on(folder / "parts", 3);
  set_thread_count(2);
  TrainOptions recomputing = options;
  recomputing.gradient_checkpointing = true;
  const Outcome second = go_on(folder / "parts", -1, recomputing);
  set_thread_count(before);
  CHECK(same_bits(second.numbers, whole.numbers));
}

TEST_CASE("resume: full fine-tuning goes on from a model's folder") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples(12);
  const auto train = [&](const std::filesystem::path& place, int64_t stop_after) {
    const auto model = models::load(test::golden("models/gqa"));
    nn::set_requires_grad(*model, true);
    optim::AdamW adamw(nn::trainable_parameters(*model));
    ModelFiles files(*model);
    CheckpointStore store(place, files);
    Watcher watcher;
    watcher.after_step = [&](const StepRecord& record) {
      if (record.step == stop_after)
        watcher.wish = Request::stop;
    };
    Trainer trainer(*model, adamw, samples, {.max_steps = 5},
                    {.observer = &watcher, .checkpoints = &store});
    CHECK(trainer.resume() == std::filesystem::exists(place));
    trainer.run();
    return numbers_of(adamw);
  };
  const auto whole = train(folder / "whole", -1);
  train(folder / "parts", 2);
  CHECK(same_bits(train(folder / "parts", -1), whole));
  // Every checkpoint is a model that can be loaded.
  const auto loaded = models::load(folder / "parts/step-5");
  CHECK(std::isfinite(evaluate(*loaded, samples)->loss));
}

TEST_CASE("resume: a run with other settings or data is refused, naming all that differs") {
  const test::TemporaryFolder folder;
  go_on(folder / "run", 3);
  TrainOptions other = options;
  other.batch_size = 2;
  other.seed = 6;
  const std::string message =
      test::message_of<ConfigError>([&] { go_on(folder / "run", -1, other); });
  test::check_contains(message, "step-3 is of another run:");
  test::check_contains(message, "\n  batch-size is 3 there, 2 here");
  test::check_contains(message, "\n  seed is 5 there, 6 here");
  test::check_contains(message, "\n  steps is 8 there, ");
  CHECK(message.find("grad-accum") == std::string::npos);
  // What changes no number may change.
  TrainOptions harmless = options;
  harmless.save_steps = 1;
  harmless.eval_batch_size = 1;
  CHECK(go_on(folder / "run", -1, harmless).state.step == 8);

  TinyRun run;
  CheckpointStore store(folder / "run", run.files, {.fingerprint = {{"model", "another"}}});
  auto samples = golden_samples(11);
  samples[3].labels[4] = 17;
  Trainer trainer(run.model, run.adamw, samples, options,
                  {.validation = samples, .checkpoints = &store});
  const auto before = numbers_of(run.adamw);
  const std::string data = test::message_of<ConfigError>([&] { trainer.resume(); });
  test::check_contains(data, "\n  data is 11 samples, xxh64 ");
  test::check_contains(data, "\n  validation data is 4 samples, xxh64 ");
  test::check_contains(data, "\n  model is not given there, another here");
  CHECK(same_bits(numbers_of(run.adamw), before));
}

TEST_CASE("resume: with a constant schedule a finished run can be made longer") {
  const test::TemporaryFolder folder;
  TrainOptions longer = options;
  longer.lr_schedule = optim::ScheduleKind::constant;
  longer.epochs = 5;
  const Outcome whole = go_on(folder / "whole", -1, longer);
  TrainOptions shorter = longer;
  shorter.epochs = 3;
  go_on(folder / "parts", -1, shorter);
  CHECK(same_bits(go_on(folder / "parts", -1, longer).numbers, whole.numbers));
}

TEST_CASE("resume: where nothing was saved a run begins, and says so") {
  const test::TemporaryFolder folder;
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  const auto samples = golden_samples(8);
  Trainer trainer(run.model, run.adamw, samples, {}, {.checkpoints = &store});
  CHECK_FALSE(trainer.resume());
  CHECK(trainer.state() == TrainerState());
}

TEST_CASE("keep_best: the result is the state with the lowest loss, which is never removed") {
  const auto all = golden_samples();
  const auto samples = std::span(all).first(8);
  const auto validation = std::span(all).subspan(8, 8);
  const test::TemporaryFolder folder;
  TrainOptions settings{.batch_size = 8,
                        .max_steps = 60,
                        .lr_schedule = optim::ScheduleKind::constant,
                        .eval_steps = 4,
                        .keep_best = true,
                        .save_steps = 5};
  const auto train = [&](const std::filesystem::path& place, int64_t stop_after) {
    TinyRun run(0, 5e-2);
    CheckpointStore store(place, run.files, {.keep = 2});
    Watcher watcher;
    watcher.after_step = [&](const StepRecord& record) {
      if (record.step == stop_after)
        watcher.wish = Request::stop;
    };
    Trainer trainer(run.model, run.adamw, samples, settings,
                    {.validation = validation, .observer = &watcher, .checkpoints = &store});
    trainer.resume();
    const RunResult result = trainer.run();
    return std::pair(result, evaluate(run.model, validation, {.batch_size = 8})->loss);
  };
  const auto [result, loss] = train(folder / "run", -1);
  CHECK(result.state.step == 60);
  REQUIRE(result.state.best_step < 50);  // it overfits
  CHECK(result.result_step == result.state.best_step);
  CHECK(loss == result.state.best_loss);
  std::vector<int64_t> kept;
  for (const CheckpointInfo& checkpoint : find_checkpoints(folder / "run").valid)
    kept.push_back(checkpoint.step);
  CHECK(kept == std::vector<int64_t>{60, 55, result.state.best_step});

  train(folder / "parts", 30);
  const auto [continued, same_loss] = train(folder / "parts", -1);
  CHECK(continued.result_step == result.result_step);
  CHECK(same_loss == loss);
  const auto [again, still] = train(folder / "parts", -1);  // a finished run gives its result again
  CHECK(again.result_step == result.result_step);
  CHECK(still == loss);
}

}  // namespace graft::train
