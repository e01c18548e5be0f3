#include <algorithm>
#include <cmath>
#include <fstream>

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

TEST_CASE("resume: a finished run is not written again") {
  const test::TemporaryFolder folder;
  go_on(folder / "run", -1);
  const auto written = std::filesystem::last_write_time(folder / "run/step-8");
  const Outcome again = go_on(folder / "run", -1);
  CHECK(again.steps.empty());
  CHECK(std::filesystem::last_write_time(folder / "run/step-8") == written);
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

namespace {

/// A run that learns eight samples by heart. One of them is among those it is evaluated on, so that
/// the evaluations first get better and then, long before its end, worse.
struct OverfittingRun {
  explicit OverfittingRun(const std::filesystem::path& folder)
      : store(folder, run.files, {.keep = 2}),
        trainer(run.model, run.adamw, std::span(all).first(8),
                {.batch_size = 8,
                 .max_steps = 40,
                 .lr_schedule = optim::ScheduleKind::constant,
                 .eval_steps = 2,
                 .keep_best = true,
                 .save_steps = 10},
                {.validation = validation(), .observer = &watcher, .checkpoints = &store}) {
    trainer.resume();
  }
  std::span<const text::Sample> validation() const { return std::span(all).subspan(7, 8); }
  /// Of the weights the model has now.
  double loss() const { return evaluate(run.model, validation(), {.batch_size = 8})->loss; }
  void stop_after(int64_t step) {
    watcher.after_step = [this, step](const StepRecord& record) {
      if (record.step == step)
        watcher.wish = Request::stop;
    };
  }

  std::vector<text::Sample> all = golden_samples();
  TinyRun run{0, 1e-2};
  CheckpointStore store;
  Watcher watcher;
  Trainer trainer;
};

}  // namespace

TEST_CASE("keep_best: the result is the state with the lowest loss, which is never removed") {
  const test::TemporaryFolder folder;
  OverfittingRun whole(folder / "run");
  const RunResult result = whole.trainer.run();
  CHECK(result.state.step == 40);
  REQUIRE(result.state.best_step < 30);
  CHECK(result.result_step == result.state.best_step);
  CHECK(whole.loss() == result.state.best_loss);
  std::vector<int64_t> kept;
  for (const CheckpointInfo& checkpoint : find_checkpoints(folder / "run").valid)
    kept.push_back(checkpoint.step);
  CHECK(kept == std::vector<int64_t>{40, 30, result.state.best_step});
}

TEST_CASE("keep_best: a stopped run has its last state, a finished one always the best") {
  const test::TemporaryFolder folder;
  OverfittingRun whole(folder / "whole");
  const RunResult expected = whole.trainer.run();
  OverfittingRun stopped(folder / "parts");
  stopped.stop_after(25);
  const RunResult part = stopped.trainer.run();
  CHECK(part.end == RunEnd::stopped);
  CHECK(part.result_step == 25);
  CHECK(stopped.loss() != part.state.best_loss);
  for (int call = 0; call < 2; ++call) {  // the second one finds the run finished
    OverfittingRun continued(folder / "parts");
    CHECK(continued.trainer.run().result_step == expected.result_step);
    CHECK(continued.loss() == whole.loss());
  }
}

TEST_CASE("keep_best: a best state that cannot be written is not the best one") {
  const test::TemporaryFolder folder;
  int64_t best = 0;
  {
    OverfittingRun whole(folder / "whole");
    best = whole.trainer.run().state.best_step;
  }
  REQUIRE(best > 2);
  OverfittingRun run(folder / "run");
  std::filesystem::create_directories(folder / "run");
  std::ofstream(folder / "run" / concat("step-", best)) << "in the way";
  const RunResult result = run.trainer.run();
  REQUIRE(run.watcher.warnings.size() == 1);
  test::check_contains(run.watcher.warnings[0], concat("after step ", best));
  CHECK(result.state.best_step != best);
  CHECK(run.loss() == result.state.best_loss);
}

}  // namespace graft::train
