// What a run computes: steps, orders, clipping, records.

#include <algorithm>
#include <cmath>

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
