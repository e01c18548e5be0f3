// How a run ends: early, on a wish, or complete.

#include "graft/tests/train/run.h"
#include "graft/train/trainer.h"

namespace graft::train {

TEST_CASE("trainer: it stops where the evaluation stops getting better") {
  TinyRun run(0, 5e-2);
  const auto all = golden_samples();
  const std::vector<text::Sample> samples(all.begin(), all.begin() + 8);
  const std::vector<text::Sample> validation(all.begin() + 8, all.begin() + 16);
  Watcher watcher;
  const RunResult result = Trainer(run.model, run.adamw, samples,
                                   {.batch_size = 8,
                                    .max_steps = 200,
                                    .lr_schedule = optim::ScheduleKind::constant,
                                    .eval_steps = 5,
                                    .early_stop = 3},
                                   {.validation = validation, .observer = &watcher})
                               .run();
  CHECK(result.end == RunEnd::early_stopped);
  CHECK(result.state.without_best == 3);
  REQUIRE(watcher.evaluations.size() >= 4);
  const EvaluationRecord& best = watcher.evaluations[watcher.evaluations.size() - 4];
  CHECK(best.is_best);
  CHECK(best.step == result.state.best_step);
  CHECK(best.result.loss == result.state.best_loss);
  CHECK(result.state.step == best.step + 15);
  for (const EvaluationRecord& record : watcher.evaluations)
    CHECK(record.result.loss >= best.result.loss);
}

TEST_CASE(
    "trainer: without eval_steps the validation data is evaluated once, after the last step") {
  TinyRun run;
  const auto samples = golden_samples();
  Watcher watcher;
  const RunResult result =
      Trainer(run.model, run.adamw, std::span(samples).first(40), {.max_steps = 3},
              {.validation = std::span(samples).last(8), .observer = &watcher})
          .run();
  REQUIRE(watcher.evaluations.size() == 1);
  CHECK(watcher.evaluations[0].step == 3);
  CHECK(result.evaluation->loss == evaluate(run.model, std::span(samples).last(8))->loss);
  CHECK(watcher.phases == std::vector<Phase>{Phase::training, Phase::evaluating});
}

TEST_CASE("trainer: a stop ends the run after the step, and a wish to stop ends an evaluation") {
  const auto samples = golden_samples();
  const std::span<const text::Sample> validation = std::span(samples).last(8);
  TinyRun run;
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& step) {
    watcher.wish = step.step == 2 ? Request::stop : Request::none;
  };
  Trainer trainer(run.model, run.adamw, samples,
                  {.max_steps = 6, .eval_steps = 2, .eval_batch_size = 2},
                  {.validation = validation, .observer = &watcher});
  CHECK(trainer.run().end == RunEnd::stopped);
  CHECK(trainer.state().step == 2);
  CHECK(watcher.evaluations.empty());
  watcher.wish = Request::none;
  watcher.after_step = {};
  int batches = 0;
  watcher.on_evaluation_batch = [&](int64_t, int64_t) {
    ++batches;
    watcher.wish = Request::stop;
  };
  CHECK(trainer.run().end == RunEnd::stopped);  // the evaluation of step 2 is still due
  CHECK(batches == 1);
  CHECK(trainer.state().step == 2);
  watcher.on_evaluation_batch = {};
  watcher.wish = Request::none;
  CHECK(trainer.run().end == RunEnd::completed);
  CHECK(watcher.evaluations.size() == 3);
}

TEST_CASE("trainer: a wish to stop at the end of an evaluation keeps its result") {
  const auto samples = golden_samples();
  TinyRun run;
  Watcher watcher;
  watcher.on_evaluation_batch = [&](int64_t done, int64_t total) {
    if (done == total)
      watcher.wish = Request::stop;
  };
  Trainer trainer(run.model, run.adamw, samples, {.max_steps = 6, .eval_steps = 2},
                  {.validation = std::span(samples).last(8), .observer = &watcher});
  CHECK(trainer.run().end == RunEnd::stopped);
  CHECK(watcher.evaluations.size() == 1);
  CHECK(trainer.state().step == 2);
  CHECK(trainer.state().evaluated_step == 2);
}

TEST_CASE("trainer: a wish to save is not lost where it comes during an evaluation") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples();
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  Watcher watcher;
  watcher.on_evaluation_batch = [&](int64_t done, int64_t) {
    const bool is_first = watcher.evaluations.empty() && done == 2;
    watcher.wish = is_first ? Request::save : Request::none;
  };
  Trainer(run.model, run.adamw, samples, {.max_steps = 6, .eval_steps = 2, .eval_batch_size = 2},
          {.validation = std::span(samples).last(8), .observer = &watcher, .checkpoints = &store})
      .run();
  REQUIRE(watcher.checkpoints.size() == 2);
  CHECK(watcher.checkpoints[0].step == 2);
}

TEST_CASE("trainer: a wish that is there already at the start is granted") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples(8);
  TinyRun run;
  CheckpointStore store(folder / "run", run.files);
  Watcher watcher;
  watcher.wish = Request::stop;
  const auto before = numbers_of(run.adamw);
  {
    Trainer trainer(run.model, run.adamw, samples, {.max_steps = 3},
                    {.observer = &watcher, .checkpoints = &store});
    CHECK(trainer.run().end == RunEnd::stopped);
    CHECK(trainer.state().step == 0);
  }
  CHECK(watcher.steps.empty());
  CHECK(watcher.checkpoints.empty());  // a run starts there anyway
  CHECK(same_bits(numbers_of(run.adamw), before));
  watcher.wish = Request::save;
  watcher.after_step = [&](const StepRecord&) { watcher.wish = Request::none; };
  Trainer(run.model, run.adamw, samples, {.max_steps = 3},
          {.observer = &watcher, .checkpoints = &store})
      .run();
  REQUIRE(watcher.checkpoints.size() == 2);
  CHECK(watcher.checkpoints[0].step == 1);
  CHECK(watcher.checkpoints[1].step == 3);
}

TEST_CASE("trainer: a run is not complete before its last evaluation is") {
  const auto samples = golden_samples();
  TinyRun run;
  Watcher watcher;
  watcher.after_step = [&](const StepRecord&) { watcher.wish = Request::stop; };
  Trainer trainer(run.model, run.adamw, samples, {.max_steps = 1},
                  {.validation = std::span(samples).last(8), .observer = &watcher});
  CHECK(trainer.run().end == RunEnd::stopped);
  watcher.wish = Request::none;
  CHECK(trainer.run().end == RunEnd::completed);
  CHECK(watcher.steps.size() == 1);
  CHECK(watcher.evaluations.size() == 1);
}

}  // namespace graft::train
