#include <cmath>
#include <functional>
#include <numeric>

#include "graft/nn/loss.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/train/run.h"
#include "graft/train/evaluate.h"

namespace graft::train {

TEST_CASE("evaluate: the loss is the mean over all tokens, whatever their sample") {
  const TinyRun run;
  const auto samples = golden_samples(10);
  double total = 0;
  int64_t tokens = 0;
  for (const text::Sample& sample : samples) {
    const Shape shape{1, static_cast<int64_t>(sample.input_ids.size())};
    const nn::Loss loss =
        nn::causal_lm_loss(run.model, Tensor::from(sample.input_ids, shape),
                           Tensor::from(sample.labels, shape), run.model.resolve({}));
    total += loss.total.value().item();
    tokens += loss.tokens;
  }
  const auto evaluation = evaluate(run.model, samples);
  REQUIRE(evaluation);
  // f32: each sample alone and in a batch, seven digits.
  CHECK(evaluation->loss == doctest::Approx(total / static_cast<double>(tokens)).epsilon(1e-6));
  CHECK(evaluation->perplexity == std::exp(evaluation->loss));
  CHECK(evaluation->tokens == tokens);
  CHECK(evaluation->samples == 10);
}

TEST_CASE("evaluate: the batch size changes nothing but rounding") {
  const TinyRun run;
  const auto samples = golden_samples(13);
  const double alone = evaluate(run.model, samples, {.batch_size = 1})->loss;
  for (const int64_t batch_size : {2, 5, 13, 100})
    CHECK(evaluate(run.model, samples, {.batch_size = batch_size})->loss ==
          doctest::Approx(alone).epsilon(1e-6));
}

TEST_CASE("evaluate: the losses of the tokens are shown, and sum to the loss") {
  const TinyRun run;
  const auto samples = golden_samples(7);
  std::vector<std::vector<float>> losses(samples.size());
  const auto on_sample = [&](int64_t index, std::span<const float> of_sample) {
    auto& place = losses[static_cast<size_t>(index)];
    CHECK(place.empty());  // once
    place.assign(of_sample.begin(), of_sample.end());
  };
  const auto evaluation = evaluate(run.model, samples, {.batch_size = 3, .on_sample = on_sample});
  double total = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const text::Sample& sample = samples[i];
    REQUIRE(losses[i].size() == sample.input_ids.size());
    for (size_t t = 0; t < losses[i].size(); ++t)
      CHECK((losses[i][t] != 0) == (t > 0 && sample.labels[t] != text::no_label));
    total += std::accumulate(losses[i].begin(), losses[i].end(), 0.0);
  }
  CHECK(total / static_cast<double>(evaluation->tokens) == doctest::Approx(evaluation->loss));
  // The loss of a token is that of predicting it from those before: the last one of the first.
  const text::Sample& first = samples[0];
  const auto length = static_cast<int64_t>(first.input_ids.size());
  const Tensor logits = run.model.logits(Tensor::from(first.input_ids, {1, length}), {})
                            .value()
                            .slice(1, length - 2, length - 1);
  const std::vector<double> row = logits.contiguous().to_vector();
  double sum = 0;
  for (const double logit : row)
    sum += std::exp(logit);
  REQUIRE(first.labels.back() != text::no_label);
  CHECK(losses[0].back() ==
        doctest::Approx(std::log(sum) - row[static_cast<size_t>(first.labels.back())]));
}

TEST_CASE("evaluate: nothing is kept for backward") {
  const TinyRun run;
  const auto samples = golden_samples(16);
  const auto peak_of = [](const std::function<void()>& action) {
    action();  // takes its scratch memory
    allocator(cpu).reset_peak();
    const int64_t before = allocator(cpu).stats().current;
    action();
    return allocator(cpu).stats().peak - before;
  };
  const int64_t evaluating = peak_of([&] { evaluate(run.model, samples, {.batch_size = 16}); });
  const int64_t recording = peak_of([&] {
    std::vector<int64_t> picked(16);
    std::iota(picked.begin(), picked.end(), 0);
    const Batch batch = make_batch(samples, picked);
    nn::causal_lm_loss(run.model, batch.ids, batch.labels, {});
  });
  CHECK(2 * evaluating < recording);  // two layers, of which one is at work
}

TEST_CASE("evaluate: there is no dropout, and no gradient is left behind") {
  TinyRun run(0.5);
  for (auto [name, variable] : run.model.trainable_parameters())
    variable.set_value(test::random_tensor(variable.shape(), 3));  // B is not zero
  const auto samples = golden_samples(4);
  CHECK(evaluate(run.model, samples)->loss == evaluate(run.model, samples)->loss);
  for (const auto& [name, variable] : run.model.trainable_parameters())
    CHECK_FALSE(variable.grad().defined());
}

TEST_CASE("evaluate: adapters can be chosen; none is the base model") {
  TinyRun run;
  for (auto [name, variable] : run.model.trainable_parameters())
    variable.set_value(test::random_tensor(variable.shape(), 3));
  const auto samples = golden_samples(4);
  const double adapted = evaluate(run.model, samples)->loss;
  const double base = evaluate(run.model, samples, {.adapters = nn::AdapterSelection{}})->loss;
  CHECK(base == evaluate(*run.base, samples)->loss);
  CHECK(std::fabs(adapted - base) > 0.1);
}

TEST_CASE("evaluate: it reports progress and gives up when told to") {
  const TinyRun run;
  const auto samples = golden_samples(7);
  std::vector<int64_t> seen;
  const auto given_up =
      evaluate(run.model, samples, {.batch_size = 3, .progress = [&](int64_t done, int64_t total) {
                                      CHECK(total == 7);
                                      seen.push_back(done);
                                      return done < 6;
                                    }});
  CHECK_FALSE(given_up);
  CHECK(seen == std::vector<int64_t>{3, 6});
}

TEST_CASE("evaluate: a loss that is not a number is an error that names the sample") {
  TinyRun run;
  for (const auto& parameter : nn::named_parameters(run.model))
    if (parameter.path.ends_with("lora_B.weight"))
      parameter.member->load(Tensor::full(parameter.member->shape(), std::nan("")));
  test::check_contains(
      test::message_of<NonFiniteError>([&] { evaluate(run.model, golden_samples(3)); }),
      "the loss of sample 1 (line 1 of the data) is");
}

TEST_CASE("evaluate: samples that do not fit are refused, and so is an empty batch") {
  const TinyRun run;
  test::check_contains(test::message_of<ConfigError>([&] { evaluate(run.model, {}); }),
                       "evaluate: no samples given");
  const std::vector<text::Sample> samples{{{1, 96}, {1, 2}, 5}};
  test::check_contains(test::message_of<ConfigError>([&] { evaluate(run.model, samples); }),
                       "evaluate, line 5: token 96 given");
  test::check_contains(test::message_of<ConfigError>(
                           [&] { evaluate(run.model, golden_samples(2), {.batch_size = 0}); }),
                       "batch_size is 0");
}

}  // namespace graft::train
