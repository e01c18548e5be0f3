// The trainer where something fails: numbers that are not finite, memory that runs out.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/optim/sgd.h"
#include "graft/tests/train/run.h"
#include "graft/train/trainer.h"

namespace graft::train {
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

}  // namespace graft::train
