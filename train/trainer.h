// Trainer: the loop that turns samples into trained weights.
//
//   train::Trainer(model, adamw, samples, {.max_steps = 100}).run();
//
// Takes any CausalLM; what is trained is what the optimizer holds. The loss of a step is the summed
// loss of all its micro-batches divided by all their trained tokens, so batch_size 8 and batch_size
// 2 with grad_accum 4 are the same step but for rounding, and so are packed rows of the same
// samples. Same build, options, data and seed give
// the same bits, for any number of threads, and for a run that was stopped and continued at any
// step. One thread calls; the model must not be changed meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/nn/causal_lm.h"
#include "graft/optim/optimizer.h"
#include "graft/text/sample_source.h"
#include "graft/train/batch.h"
#include "graft/train/checkpoint.h"
#include "graft/train/evaluate.h"
#include "graft/train/observer.h"
#include "graft/train/options.h"

namespace graft::train {

/// Why a run returned.
enum class RunEnd {
  completed,      ///< all steps are done
  early_stopped,  ///< no better evaluation for `early_stop` of them
  stopped,        ///< the observer asked for it; it can be continued
};

struct RunResult {
  RunEnd end = RunEnd::completed;
  TrainerState state{};                    ///< of the last step
  int64_t total_steps = 0;                 ///< that the run was to have
  int64_t result_step = 0;                 ///< whose weights the model has now
  std::optional<StepRecord> last_step{};   ///< of this call
  std::optional<Evaluation> evaluation{};  ///< the last one of this call
  double seconds = 0;                      ///< of this call, all in all
  int64_t input_tokens = 0;                ///< of this call
};

/// What a run may have besides. All must outlive the Trainer.
struct TrainExtras {
  text::Samples validation{};
  Observer* observer = nullptr;
  CheckpointStore* checkpoints = nullptr;
};

class Trainer {
 public:
  /// The optimizer's learning rate is the base of the schedule. Model, optimizer and samples must
  /// outlive the Trainer. Throws ConfigError where an option contradicts another one or a sample
  /// does not fit the model, naming its line.
  Trainer(const nn::CausalLM& model, optim::Optimizer& optimizer, const text::Samples& samples,
          const TrainOptions& options, const TrainExtras& extras = {});

  /// Continues from the newest valid checkpoint; damaged ones are warned of. False where there is
  /// none yet. Throws ConfigError where that run was another one, naming what differs, and
  /// FormatError where checkpoints exist and none is valid. Requires extras.checkpoints.
  bool resume();

  /// Trains until the end, from the beginning or where resume() left off. With a CheckpointStore
  /// the last state is always saved, but for the one before the first step, where a run without
  /// checkpoints begins anyway. A wish that the observer has already is granted first. At the end
  /// the model has the last state's weights, or the best's with keep_best; where the observer
  /// stopped the run, always the last's.
  ///
  /// A loss or a gradient norm that is not finite throws NonFiniteError, which names the step, the
  /// samples' lines and the first bad tensor. Whatever a step throws, OutOfMemory too, weights and
  /// optimizer are then those of the step before, and that state is saved if it is finite. A
  /// checkpoint that cannot be written is a warning and tried again at the next one; only the last
  /// one throws IoError.
  RunResult run();

  const TrainerState& state() const { return state_; }
  /// True where no step and no evaluation is left to do.
  bool is_complete() const { return is_finished() && !evaluation_is_due(); }
  /// The step of the newest checkpoint; nothing where none was saved or resumed from.
  std::optional<int64_t> saved_step() const {
    return saved_ ? std::optional(saved_->step) : std::nullopt;
  }
  int64_t total_steps() const { return total_steps_; }

 private:
  /// What the micro-batches of one step add up to.
  struct Sums {
    Grads grads;      ///< of the summed loss, row-major
    double norm = 0;  ///< of the gradients of the mean loss
    double loss = 0;
    int64_t tokens = 0;
    int64_t input_tokens = 0;
    std::vector<std::string> names;  ///< of the samples
  };

  /// All of a step that can fail.
  Sums forward_and_backward();
  /// The same; where it throws, the last state is saved first.
  Sums gradients();
  void save_after_failure();
  StepRecord train_step();
  void check_loss(const Tensor& per_token, const Batch& batch) const;
  void check_norm(const Sums& sums) const;
  void check_weights() const;

  bool evaluation_is_due() const;
  /// Does nothing more where a wish to stop comes meanwhile.
  void evaluate_now();
  bool save_is_due() const;
  void save(bool is_last);
  void restore_best();
  bool is_finished() const;

  void enter(Phase phase);
  void warn(const std::string& message) const;
  /// Asks the observer, and keeps in mind what it wants until that is done.
  void ask();

  const nn::CausalLM& model_;
  optim::Optimizer& optimizer_;
  text::Samples samples_;
  TrainOptions options_;
  TrainExtras extras_;
  Rows rows_;
  int64_t total_steps_;
  optim::Schedule schedule_;
  Sampler sampler_;
  TrainerState state_;
  std::optional<TrainerState> saved_;  ///< what the newest checkpoint holds
  /// Step and loss of the best evaluation before the last one.
  std::pair<int64_t, double> best_before_{-1, 0};
  std::optional<Phase> phase_;
  bool stop_wanted_ = false;
  bool save_wanted_ = false;
  RunResult result_;
};

}  // namespace graft::train
