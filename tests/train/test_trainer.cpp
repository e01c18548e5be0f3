#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/optim/sgd.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/parallel.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/train/run.h"
#include "graft/train/trainer.h"

namespace graft::train {
namespace {

/// Trains a fresh TinyRun and returns what it ended with.
std::vector<Tensor> trained(const TrainOptions& options, double dropout = 0.1) {
  TinyRun run(dropout);
  const auto samples = golden_samples();
  Trainer(run.model, run.adamw, samples, options).run();
  return numbers_of(run.adamw);
}

/// ‖a - b‖ / ‖b‖ over all tensors together.
double difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double distance = 0;
  double norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = a[i].to_vector();
    const auto y = b[i].to_vector();
    for (size_t j = 0; j < x.size(); ++j) {
      distance += (x[j] - y[j]) * (x[j] - y[j]);
      norm += y[j] * y[j];
    }
  }
  return std::sqrt(distance / norm);
}

/// The gradient of one step without clipping, from what SGD with rate 1 subtracts.
std::vector<Tensor> one_step(const TrainOptions& options) {
  TinyRun run(0.1);
  for (auto [name, variable] : run.model.trainable_parameters()) {
    if (name.ends_with("lora_B.weight"))  // is zero at first, and A's gradient with it
      variable.set_value(ops::scale(test::random_tensor(variable.shape(), 1), 0.05));
  }
  optim::Sgd sgd(run.model.trainable_parameters(), {.lr = 1, .momentum = 0.9});
  const auto samples = golden_samples();
  Trainer(run.model, sgd, samples, options).run();
  std::vector<Tensor> gradients;
  for (const auto& [name, tensor] : sgd.state()) {
    if (name != "step")
      gradients.push_back(tensor);
  }
  return gradients;
}

}  // namespace

TEST_CASE("trainer: k micro-batches are one batch, dropout included") {
  const auto options = [](int64_t batch_size, int64_t grad_accum) {
    return TrainOptions{.batch_size = batch_size,
                        .grad_accum = grad_accum,
                        .max_steps = 1,
                        .lr_schedule = optim::ScheduleKind::constant,
                        .max_grad_norm = 0};
  };
  const auto whole = one_step(options(12, 1));
  for (const int64_t parts : {2, 3, 4, 6, 12}) {
    const double distance = difference(one_step(options(12 / parts, parts)), whole);
    CHECK_MESSAGE(distance < 1e-6, parts, " parts: ", distance);  // f32 sums in another order
  }
}

TEST_CASE("trainer: the bits do not depend on the number of threads") {
  const int before = thread_count();
  const TrainOptions options{.batch_size = 3, .grad_accum = 2, .max_steps = 10, .warmup_steps = 2};
  set_thread_count(1);
  const auto one = trained(options);
  set_thread_count(2);
  const auto two = trained(options);
  set_thread_count(before);
  CHECK(same_bits(one, two));
}

TEST_CASE("trainer: recomputing the blocks gives the same bits, dropout included") {
  TrainOptions options{.batch_size = 3, .grad_accum = 2, .max_steps = 5};
  const auto kept = trained(options);
  options.gradient_checkpointing = true;
  CHECK(same_bits(trained(options), kept));
}

TEST_CASE("trainer: the seed changes order and dropout, and nothing else does") {
  const TrainOptions options{.batch_size = 4, .max_steps = 3};
  TrainOptions seeded = options;
  seeded.seed = 1;
  const auto first = trained(options);
  CHECK(same_bits(trained(options), first));
  CHECK_FALSE(same_bits(trained(seeded), first));
  seeded.shuffle = false;
  const auto without_dropout = trained(seeded, 0);
  seeded.seed = 2;
  CHECK(same_bits(trained(seeded, 0), without_dropout));
}

TEST_CASE("trainer: eight samples are learned by heart") {
  const auto samples = golden_samples(8);
  const auto final_loss = [&](nn::CausalLM& model, std::vector<NamedVariable> parameters) {
    optim::AdamW adamw(std::move(parameters), {.lr = 2e-2});
    const RunResult result =
        Trainer(model, adamw, samples, {.batch_size = 8, .max_steps = 200, .warmup_steps = 10})
            .run();
    CHECK(result.last_step->loss == doctest::Approx(evaluate(model, samples)->loss).epsilon(0.1));
    return result.last_step->loss;
  };
  const auto whole = models::load(test::golden("models/gqa"));
  nn::set_requires_grad(*whole, true);
  const double full = final_loss(*whole, nn::trainable_parameters(*whole));
  CHECK_MESSAGE(full < 0.01, full);
  // The head is adapted too: with the tiny model's own one, logits cannot grow large enough.
  const auto base = models::load(test::golden("models/untied"));
  peft::PeftModel model(*base, {.r = 8,
                                .target_modules = {"q_proj", "v_proj", "o_proj", "gate_proj",
                                                   "up_proj", "down_proj", "lm_head"},
                                .lora_alpha = 16});
  const double lora = final_loss(model, model.trainable_parameters());
  CHECK_MESSAGE(lora < 0.01, lora);
}

TEST_CASE("trainer: the last step of an epoch takes what is left, weighted by its tokens") {
  TinyRun run;
  const auto samples = golden_samples(7);
  Watcher watcher;
  const RunResult result =
      Trainer(run.model, run.adamw, samples,
              {.batch_size = 2, .grad_accum = 2, .epochs = 2, .shuffle = false},
              {.observer = &watcher})
          .run();
  REQUIRE(watcher.steps.size() == 4);
  CHECK(result.total_steps == 4);
  int64_t tokens = 0;
  int64_t input_tokens = 0;
  for (size_t i = 4; i < 7; ++i) {
    tokens += count_trained_tokens(samples[i]);
    input_tokens += static_cast<int64_t>(samples[i].input_ids.size());
  }
  for (const size_t step : {1, 3}) {
    CHECK(watcher.steps[step].tokens == tokens);
    CHECK(watcher.steps[step].input_tokens == input_tokens);
  }
  CHECK(watcher.steps[0].epoch == doctest::Approx(4.0 / 7));
  CHECK(watcher.steps[1].epoch == 1);
  CHECK(watcher.steps[3].epoch == 2);
}

TEST_CASE("trainer: a step does not reach into the next epoch") {
  TinyRun run;
  const auto samples = golden_samples(5);
  Watcher watcher;
  Trainer(run.model, run.adamw, samples,
          {.batch_size = 2, .grad_accum = 2, .epochs = 2, .shuffle = false}, {.observer = &watcher})
      .run();
  REQUIRE(watcher.steps.size() == 4);
  CHECK(watcher.steps[1].tokens == count_trained_tokens(samples[4]));
  CHECK(watcher.steps[1].epoch == 1);
  CHECK(watcher.steps[2].tokens == watcher.steps[0].tokens);
}

TEST_CASE("trainer: records tell what happened") {
  TinyRun run;
  const auto samples = golden_samples(8);
  Watcher watcher;
  const RunResult result = Trainer(run.model, run.adamw, samples,
                                   {.batch_size = 4,
                                    .max_steps = 3,
                                    .lr_schedule = optim::ScheduleKind::linear,
                                    .warmup_steps = 1},
                                   {.observer = &watcher})
                               .run();
  REQUIRE(watcher.steps.size() == 3);
  CHECK(watcher.phases == std::vector<Phase>{Phase::training});
  CHECK(watcher.steps[0].lr == 0);
  CHECK(watcher.steps[1].lr == 1e-2);
  CHECK(watcher.steps[2].lr == doctest::Approx(0.5e-2));
  CHECK(run.adamw.lr() == 1e-2);
  int64_t tokens = 0;
  for (const StepRecord& step : watcher.steps) {
    tokens += step.input_tokens;
    CHECK(step.total_steps == 3);
    CHECK(step.grad_norm > 0);
    CHECK(step.seconds > 0);
    CHECK(step.tokens_per_second ==
          doctest::Approx(static_cast<double>(step.input_tokens) / step.seconds));
    CHECK(step.rss_bytes > (1 << 20));
  }
  CHECK(result.end == RunEnd::completed);
  CHECK(result.input_tokens == tokens);
  CHECK(result.state.input_tokens == tokens);
  CHECK(result.state.step == 3);
  CHECK(result.result_step == 3);
}

TEST_CASE("trainer: clipping limits the step, not the norm that is reported") {
  const auto norm_and_step = [](double max_grad_norm) {
    TinyRun run(0);
    optim::Sgd sgd(run.model.trainable_parameters(), {.lr = 1, .momentum = 0.9});
    const auto samples = golden_samples(8);
    const RunResult result = Trainer(run.model, sgd, samples,
                                     {.batch_size = 8,
                                      .max_steps = 1,
                                      .lr_schedule = optim::ScheduleKind::constant,
                                      .max_grad_norm = max_grad_norm})
                                 .run();
    double squares = 0;
    for (const auto& [name, tensor] : sgd.state()) {
      if (name != "step")
        squares += ops::sum_of_squares(tensor);
    }
    return std::pair(result.last_step->grad_norm, std::sqrt(squares));
  };
  const auto [norm, unclipped] = norm_and_step(0);
  CHECK(unclipped == doctest::Approx(norm).epsilon(1e-6));
  const auto [same_norm, clipped] = norm_and_step(norm / 4);
  CHECK(same_norm == norm);
  CHECK(clipped == doctest::Approx(norm / 4).epsilon(1e-5));
}

TEST_CASE("trainer: a NaN in a weight stops the run before anything is changed") {
  TinyRun run;
  const auto samples = golden_samples();
  Watcher watcher;
  Trainer trainer(run.model, run.adamw, samples,
                  {.batch_size = 2, .grad_accum = 2, .max_steps = 10, .shuffle = false},
                  {.observer = &watcher});
  std::vector<Tensor> before;
  watcher.after_step = [&](const StepRecord& step) {
    if (step.step != 3)
      return;
    auto parameters = run.model.trainable_parameters();
    parameters[5].variable.mutable_value().data<float>()[7] = std::nanf("");
    before = numbers_of(run.adamw);
  };
  const std::string message = test::message_of<NonFiniteError>([&] { trainer.run(); });
  test::check_contains(message, "the loss of step 4 is nan");
  test::check_contains(message, "from line 13, line 14 of the data");
  test::check_contains(
      message, "the first bad tensor is the weight '" + run.adamw.parameters()[5].name + "'");
  CHECK(watcher.steps.size() == 3);
  CHECK(trainer.state().step == 3);
  CHECK(same_bits(numbers_of(run.adamw), before));
}

TEST_CASE("trainer: a gradient that is not finite stops the run and is named") {
  TinyRun run(0);
  const auto samples = golden_samples(8);
  // B is zero, so a huge A leaves the loss alone; B's gradient overflows.
  auto parameters = run.model.trainable_parameters();
  const auto huge = std::ranges::find_if(parameters, [](const NamedVariable& parameter) {
    return parameter.name.ends_with("lora_A.weight");
  });
  huge->variable.set_value(
      Tensor::full(huge->variable.shape(), std::numeric_limits<float>::max() / 64));
  const auto before = numbers_of(run.adamw);
  Trainer trainer(run.model, run.adamw, samples, {.batch_size = 4, .grad_accum = 2});
  const std::string message = test::message_of<NonFiniteError>([&] { trainer.run(); });
  test::check_contains(message, "the gradient norm of step 1 is ");
  test::check_contains(message, "the first bad tensor is the gradient of '");
  test::check_contains(message, ", the samples are line ");
  CHECK(same_bits(numbers_of(run.adamw), before));
  for (const auto& [name, variable] : run.adamw.parameters())
    CHECK_FALSE(variable.grad().defined());
}

namespace {

/// A model whose memory runs out in its forward number `last_call` + 1.
class FailingModel final : public nn::CausalLM {
 public:
  FailingModel(const nn::CausalLM& model, int last_call) : model_(model), calls_left_(last_call) {}
  Variable forward(const Tensor& ids, const nn::Context& context) const override {
    GRAFT_CHECK(calls_left_-- > 0, OutOfMemory, "forward: no memory");
    return model_.forward(ids, context);
  }
  const nn::LinearLike& head() const override { return model_.head(); }
  const nn::ModelInfo& info() const override { return model_.info(); }
  nn::Context resolve(const nn::Context& context) const override { return model_.resolve(context); }

 private:
  const nn::CausalLM& model_;
  mutable int calls_left_;
};

/// The only checkpoint in `folder` continues a run of `options` to the numbers of an unbroken one.
void check_continues(const std::filesystem::path& folder, const TrainOptions& options,
                     int64_t step) {
  const auto samples = golden_samples(8);
  TinyRun whole, continued;
  Trainer(whole.model, whole.adamw, samples, options).run();
  CheckpointStore store(folder, continued.files);
  Trainer trainer(continued.model, continued.adamw, samples, options, {.checkpoints = &store});
  REQUIRE(trainer.resume());
  CHECK(trainer.state().step == step);
  trainer.run();
  CHECK(same_bits(numbers_of(continued.adamw), numbers_of(whole.adamw)));
}

}  // namespace

TEST_CASE("trainer: where memory runs out in a step, the state before it is saved and whole") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples(8);
  const TrainOptions options{.batch_size = 2, .grad_accum = 2, .max_steps = 4};
  TinyRun run;
  const FailingModel failing(run.model, 5);  // in the second half of step 3
  CheckpointStore store(folder / "run", run.files);
  Watcher watcher;
  Trainer trainer(failing, run.adamw, samples, options,
                  {.observer = &watcher, .checkpoints = &store});
  CHECK_THROWS_AS(trainer.run(), OutOfMemory);
  CHECK(trainer.saved_step() == 2);
  CHECK(watcher.checkpoints.size() == 1);
  for (const auto& [name, variable] : run.adamw.parameters())
    CHECK_FALSE(variable.grad().defined());
  check_continues(folder / "run", options, 2);
}

TEST_CASE("trainer: where a loss is not finite, the state before the step is saved") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples(8);
  TinyRun run(0);
  CheckpointStore store(folder / "run", run.files);
  Watcher watcher;
  std::vector<Tensor> before;
  watcher.after_step = [&](const StepRecord& step) {
    for (auto [name, variable] : run.model.trainable_parameters())
      if (step.step == 2)  // finite, and nothing that is computed from it
        variable.set_value(Tensor::full(variable.shape(), std::numeric_limits<float>::max() / 64));
    before = numbers_of(run.adamw);
  };
  Trainer trainer(run.model, run.adamw, samples, {.batch_size = 4, .max_steps = 5},
                  {.observer = &watcher, .checkpoints = &store});
  CHECK_THROWS_AS(trainer.run(), NonFiniteError);
  CHECK(trainer.saved_step() == 2);
  CHECK(same_bits(numbers_of(run.adamw), before));
  TinyRun other(0);
  CheckpointStore again(folder / "run", other.files);
  Trainer continued(other.model, other.adamw, samples, {.batch_size = 4, .max_steps = 5},
                    {.checkpoints = &again});
  REQUIRE(continued.resume());
  CHECK(same_bits(numbers_of(other.adamw), before));
}

TEST_CASE("trainer: a state that is not finite is not saved when a step fails") {
  const test::TemporaryFolder folder;
  const auto samples = golden_samples(8);
  TinyRun run(0);
  CheckpointStore store(folder / "run", run.files);
  Watcher watcher;
  watcher.after_step = [&](const StepRecord& step) {
    watcher.wish = step.step == 1 ? Request::save : Request::none;
    if (step.step == 2)
      run.model.trainable_parameters()[3].variable.mutable_value().data<float>()[0] = std::nanf("");
  };
  Trainer trainer(run.model, run.adamw, samples, {.batch_size = 4, .max_steps = 5},
                  {.observer = &watcher, .checkpoints = &store});
  CHECK_THROWS_AS(trainer.run(), NonFiniteError);
  CHECK(trainer.saved_step() == 1);
  CHECK(find_checkpoints(folder / "run").valid.size() == 1);
  REQUIRE(watcher.warnings.size() == 1);
  test::check_contains(watcher.warnings[0], "the state after step 2 is not saved: ");
}

TEST_CASE("trainer: a last step that makes a weight infinite is an error") {
  TinyRun run(0);
  optim::Sgd sgd(run.model.trainable_parameters(), {.lr = 1e300});
  const auto samples = golden_samples(8);
  Trainer trainer(run.model, sgd, samples, {.max_steps = 1, .max_grad_norm = 0});
  test::check_contains(test::message_of<NonFiniteError>([&] { trainer.run(); }),
                       "step 1 has made the weight '");
}

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

TEST_CASE("trainer: gradients that lie around from before are not part of a step") {
  const auto samples = golden_samples(8);
  TinyRun clean, dirty;
  for (auto& [name, variable] : dirty.model.trainable_parameters())
    variable.backward();
  for (TinyRun* run : {&clean, &dirty})
    Trainer(run->model, run->adamw, samples, {.max_steps = 2}).run();
  CHECK(same_bits(numbers_of(dirty.adamw), numbers_of(clean.adamw)));
}

TEST_CASE("trainer: after two steps nothing more is taken from the system") {
  std::vector<text::Sample> samples = golden_samples();
  std::erase_if(samples, [](const text::Sample& sample) { return sample.input_ids.size() < 12; });
  samples.resize(32);  // two whole steps an epoch, in batches of one shape
  for (text::Sample& sample : samples) {
    sample.input_ids.resize(12);
    sample.labels = sample.input_ids;
  }
  allocator(cpu).trim();  // what other tests left
  TinyRun run;
  Watcher watcher;
  std::vector<int64_t> requests;
  watcher.after_step = [&](const StepRecord&) {
    requests.push_back(allocator(cpu).stats().system_requests);
  };
  Trainer(run.model, run.adamw, samples, {.batch_size = 4, .grad_accum = 4, .max_steps = 8},
          {.observer = &watcher})
      .run();
  CHECK(requests[0] > 0);
  CHECK(requests[7] == requests[1]);
}

TEST_CASE("trainer: what cannot work is refused before the first step") {
  TinyRun run;
  const auto samples = golden_samples(4);
  const auto refusal = [&](const TrainOptions& options, const TrainExtras& extras) {
    return test::message_of<ConfigError>(
        [&] { Trainer(run.model, run.adamw, samples, options, extras); });
  };
  test::check_contains(refusal({.keep_best = true}, {.validation = samples}),
                       "there is no CheckpointStore");
  const std::vector<text::Sample> wrong{{{1, 96}, {1, 2}, 5}};
  test::check_contains(refusal({}, {.validation = wrong}), "validation data, line 5: token 96");
  test::check_contains(
      test::message_of<ConfigError>([&] { Trainer(run.model, run.adamw, wrong, {}); }),
      "training data, line 5: token 96");
  Trainer trainer(run.model, run.adamw, samples, {});
  test::check_contains(test::message_of<ConfigError>([&] { trainer.resume(); }),
                       "the run has no CheckpointStore");
}

}  // namespace graft::train
