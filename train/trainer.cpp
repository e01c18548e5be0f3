#include "graft/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>
#include <utility>

#include "graft/nn/loss.h"
#include "graft/optim/clip.h"
#include "graft/tensor/reduce.h"
#include "graft/train/gradient_tree.h"
#include "graft/train/process_memory.h"

namespace graft::train {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// "line 3, line 7 and 6 more".
std::string listing(const std::vector<std::string>& names) {
  constexpr size_t shown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), shown); ++i)
    text += (i == 0 ? "" : ", ") + names[i];
  return names.size() > shown ? concat(text, " and ", names.size() - shown, " more") : text;
}

/// The first parameter with a NaN or an infinity in it, quoted; empty where there is none.
std::string first_bad_weight(const optim::Optimizer& optimizer) {
  for (const auto& [name, variable] : optimizer.parameters()) {
    if (!ops::all_finite(variable.value()))
      return concat("'", name, "'");
  }
  return "";
}

constexpr const char* advice =
    "The weights are those of the step before. A lower learning rate, a warm-up or a look at these"
    " samples may help";

}  // namespace

Trainer::Trainer(const nn::CausalLM& model, optim::Optimizer& optimizer,
                 const text::Samples& samples, const TrainOptions& options,
                 const TrainExtras& extras)
    : model_(model),
      optimizer_(optimizer),
      samples_(samples),
      options_(options),
      extras_(extras),
      rows_(rows_of(samples, options)),
      sampler_(rows_.size(), options.seed, options.shuffle) {
  check_options(options, rows_.size(), extras.validation.size());
  check_samples("training data", samples, model.info().vocab_size);
  if (!extras.validation.empty())
    check_samples("validation data", extras.validation, model.info().vocab_size);
  GRAFT_CHECK(!options.keep_best || extras.checkpoints != nullptr, ConfigError,
              "train: keep_best is set but there is no CheckpointStore to keep the best in");
  total_steps_ = train::total_steps(options, rows_.size());
  schedule_ = {.kind = options.lr_schedule,
               .warmup_steps = warmup_steps(options, total_steps_),
               .total_steps = total_steps_};
  if (extras.checkpoints)
    extras.checkpoints->add_fingerprint(
        fingerprint_of(options, optimizer, samples, extras.validation));
}

bool Trainer::resume() {
  GRAFT_CHECK(extras_.checkpoints != nullptr, ConfigError,
              "resume: the run has no CheckpointStore");
  const auto checkpoint = extras_.checkpoints->newest([&](const DamagedCheckpoint& damaged) {
    warn(concat("a damaged checkpoint is passed over: ", damaged.problem));
  });
  if (!checkpoint)
    return false;
  enter(Phase::restoring);
  state_ = extras_.checkpoints->load(*checkpoint, optimizer_);
  saved_ = state_;
  return true;
}

RunResult Trainer::run() {
  const Stopwatch watch;
  result_ = {.total_steps = total_steps_};
  sampler_ = Sampler(rows_.size(), options_.seed, options_.shuffle, state_.sampler);
  optimizer_.zero();
  stop_wanted_ = save_wanted_ = false;
  ask();
  while (true) {
    if (!stop_wanted_ && evaluation_is_due())
      evaluate_now();
    if (stop_wanted_ || is_finished())
      break;
    if (save_wanted_ || save_is_due())
      save(false);
    enter(Phase::training);
    result_.last_step = train_step();
    result_.input_tokens += result_.last_step->input_tokens;
    if (extras_.observer)
      extras_.observer->on_step(*result_.last_step);
    ask();
  }
  check_weights();
  save(true);
  result_.end = !is_complete()                ? RunEnd::stopped
                : state_.step >= total_steps_ ? RunEnd::completed
                                              : RunEnd::early_stopped;
  result_.state = state_;
  result_.result_step = state_.step;
  if (options_.keep_best && result_.end != RunEnd::stopped)
    restore_best();
  result_.seconds = watch.seconds();
  return result_;
}

bool Trainer::is_finished() const {
  return state_.step >= total_steps_ ||
         (options_.early_stop > 0 && state_.without_best >= options_.early_stop);
}

StepRecord Trainer::train_step() {
  const Stopwatch watch;
  const Sums sums = gradients();
  const auto tokens = static_cast<double>(sums.tokens);
  const double base_lr = optimizer_.lr();
  const double lr = base_lr * schedule_.factor(state_.step);
  optimizer_.set_lr(lr);
  optimizer_.step(sums.grads, optim::clip_factor(sums.norm, options_.max_grad_norm) / tokens);
  optimizer_.set_lr(base_lr);
  ++state_.step;
  state_.sampler = sampler_.state();
  state_.tokens += sums.tokens;
  state_.input_tokens += sums.input_tokens;

  const double seconds = watch.seconds();
  return {.step = state_.step,
          .total_steps = total_steps_,
          .epoch = static_cast<double>(state_.sampler.epoch) +
                   static_cast<double>(state_.sampler.position) / static_cast<double>(rows_.size()),
          .loss = sums.loss / tokens,
          .grad_norm = sums.norm,
          .lr = lr,
          .tokens = sums.tokens,
          .input_tokens = sums.input_tokens,
          .seconds = seconds,
          .tokens_per_second = static_cast<double>(sums.input_tokens) / seconds,
          .rss_bytes = resident_bytes()};
}

Trainer::Sums Trainer::gradients() {
  try {
    return forward_and_backward();
  } catch (...) {
    save_after_failure();
    throw;
  }
}

void Trainer::save_after_failure() {
  optimizer_.zero();
  try {
    save(true);
  } catch (const std::exception& problem) {
    warn(concat("the state after step ", state_.step, " is not saved: ", problem.what()));
  }
}

Trainer::Sums Trainer::forward_and_backward() {
  Sums sums;
  GradientTree tree;
  for (int64_t part = 0; part < options_.grad_accum; ++part) {
    const Batch batch = make_batch(samples_, rows_, sampler_.next(options_.batch_size));
    const nn::Context context =
        batch.training_context(options_.seed, state_.step, options_.gradient_checkpointing);
    const nn::Loss loss = nn::causal_lm_loss(model_, batch.ids, batch.labels, context);
    check_loss(loss.per_token, batch);
    loss.total.backward();
    tree.add(optimizer_.take_grads());
    sums.loss += ops::sum(loss.per_token);
    sums.tokens += batch.tokens;
    sums.input_tokens += batch.input_tokens;
    sums.names.insert(sums.names.end(), batch.names.begin(), batch.names.end());
    if (sampler_.state().position == rows_.size())
      break;  // a step does not reach into the next epoch
  }
  sums.grads = tree.take();
  for (Tensor& grad : sums.grads) {
    if (grad.defined())
      grad = grad.contiguous();  // here memory may run out; in the midst of an update it may not
  }
  sums.norm = optim::global_norm(sums.grads) / static_cast<double>(sums.tokens);
  check_norm(sums);
  return sums;
}

void Trainer::check_loss(const Tensor& per_token, const Batch& batch) const {
  if (std::isfinite(ops::sum(per_token)))
    return;
  std::vector<std::string> bad;
  double loss = 0;
  for (size_t row = 0; row < batch.names.size(); ++row) {
    const auto index = static_cast<int64_t>(row);
    const double sum = ops::sum(per_token.slice(0, index, index + 1));
    if (!std::isfinite(sum)) {
      bad.push_back(batch.names[row]);
      loss = sum;
    }
  }
  const std::string weight = first_bad_weight(optimizer_);
  throw NonFiniteError(concat("train: the loss of step ", state_.step + 1, " is ", loss, ", from ",
                              listing(bad), " of the data; ",
                              weight.empty() ? "all trained weights are finite"
                                             : "the first bad tensor is the weight " + weight,
                              ". ", advice));
}

void Trainer::check_norm(const Sums& sums) const {
  if (std::isfinite(sums.norm))
    return;
  const auto bad = std::ranges::find_if(
      sums.grads, [](const Tensor& grad) { return grad.defined() && !ops::all_finite(grad); });
  const std::string tensor =
      bad == sums.grads.end()
          ? "the squares of all gradients together are too large"
          : concat("the first bad tensor is the gradient of '",
                   optimizer_.parameters()[static_cast<size_t>(bad - sums.grads.begin())].name,
                   "'");
  throw NonFiniteError(concat("train: the gradient norm of step ", state_.step + 1, " is ",
                              sums.norm, "; ", tensor, ", the samples are ", listing(sums.names),
                              " of the data. ", advice));
}

void Trainer::check_weights() const {
  const std::string weight = first_bad_weight(optimizer_);
  GRAFT_CHECK(weight.empty(), NonFiniteError, "train: step ", state_.step, " has made the weight ",
              weight, " infinite or NaN; a lower learning rate may help");
}

bool Trainer::evaluation_is_due() const {
  if (extras_.validation.empty() || state_.step == 0 || state_.step == state_.evaluated_step)
    return false;
  return state_.step == total_steps_ ||
         (options_.eval_steps > 0 && state_.step % options_.eval_steps == 0);
}

void Trainer::evaluate_now() {
  const Stopwatch watch;
  enter(Phase::evaluating);
  const auto progress = [&](int64_t done, int64_t total) {
    if (extras_.observer)
      extras_.observer->on_progress(done, total);
    ask();
    return done == total || !stop_wanted_;
  };
  const auto evaluation = evaluate(
      model_, extras_.validation,
      {.batch_size = options_.eval_batch_size > 0 ? options_.eval_batch_size : options_.batch_size,
       .progress = progress});
  if (!evaluation)
    return;
  best_before_ = {state_.best_step, state_.best_loss};
  const bool is_best = state_.best_step < 0 || evaluation->loss < state_.best_loss;
  state_.evaluated_step = state_.step;
  state_.without_best = is_best ? 0 : state_.without_best + 1;
  if (is_best) {
    state_.best_step = state_.step;
    state_.best_loss = evaluation->loss;
  }
  result_.evaluation = evaluation;
  if (extras_.observer)
    extras_.observer->on_evaluation({.step = state_.step,
                                     .result = *evaluation,
                                     .is_best = is_best,
                                     .without_best = state_.without_best,
                                     .seconds = watch.seconds()});
}

bool Trainer::save_is_due() const {
  if (state_.step == 0)
    return false;
  const bool is_new_best = options_.keep_best && state_.best_step == state_.step;
  return is_new_best || (options_.save_steps > 0 && state_.step % options_.save_steps == 0);
}

void Trainer::save(bool is_last) {
  if (state_.step == 0)
    return;  // a wish to save waits for the first step
  save_wanted_ = false;
  if (!extras_.checkpoints || saved_ == state_)
    return;
  enter(Phase::saving);
  try {
    const CheckpointInfo info = extras_.checkpoints->save(state_, optimizer_);
    saved_ = state_;
    if (extras_.observer)
      extras_.observer->on_checkpoint({.step = info.step,
                                       .folder = info.folder,
                                       .bytes = info.bytes,
                                       .is_best = state_.best_step == state_.step});
  } catch (const IoError& error) {
    if (is_last)
      throw;
    if (options_.keep_best && state_.best_step == state_.step)
      std::tie(state_.best_step, state_.best_loss) = best_before_;  // this one cannot be kept
    warn(concat("no checkpoint was written after step ", state_.step,
                ", the run goes on and tries again at the next: ", error.what()));
    return;
  }
  try {
    extras_.checkpoints->prune(state_);
  } catch (const IoError& error) {
    warn(concat("an old checkpoint is still there: ", error.what()));
  }
}

void Trainer::restore_best() {
  if (state_.best_step < 0 || state_.best_step == state_.step)
    return;
  enter(Phase::restoring);
  extras_.checkpoints->load_weights(extras_.checkpoints->at(state_.best_step));
  result_.result_step = state_.best_step;
}

void Trainer::enter(Phase phase) {
  if (std::exchange(phase_, phase) != phase && extras_.observer)
    extras_.observer->on_phase(phase);
}

void Trainer::warn(const std::string& message) const {
  if (extras_.observer)
    extras_.observer->on_warning(message);
}

void Trainer::ask() {
  const Request wish = extras_.observer ? extras_.observer->request() : Request::none;
  stop_wanted_ = stop_wanted_ || wish == Request::stop;
  save_wanted_ = save_wanted_ || wish == Request::save;
}

}  // namespace graft::train
