// Observer: what a run tells whoever watches it, and how the watcher stops it.
//
// The library prints nothing and catches no signal; it calls these functions, from the thread that
// runs the training, between the pieces of its work. A signal handler sets a flag that `request`
// reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "graft/train/evaluate.h"

namespace graft::train {

/// What a run is busy with.
enum class Phase { training, evaluating, saving, restoring };

/// What the watcher wants. `save`: a checkpoint after this step, then go on. `stop`: finish the
/// step, save, return.
enum class Request { none, save, stop };

/// One optimizer step.
struct StepRecord {
  int64_t step = 0;          ///< from 1: how many steps are done
  int64_t total_steps = 0;   ///< of the whole run
  double epoch = 0;          ///< passes over the data, with the part of the current one
  double loss = 0;           ///< summed loss / tokens, before the update
  double grad_norm = 0;      ///< before clipping
  double lr = 0;             ///< what this step used
  int64_t tokens = 0;        ///< tokens with a loss
  int64_t input_tokens = 0;  ///< tokens without padding
  double seconds = 0;
  double tokens_per_second = 0;  ///< input_tokens / seconds
  int64_t rss_bytes = 0;         ///< memory of the process after the step
};

/// One evaluation on the validation samples.
struct EvaluationRecord {
  int64_t step = 0;  ///< steps done
  Evaluation result{};
  bool is_best = false;      ///< lower than all before
  int64_t without_best = 0;  ///< evaluations since the best one
  double seconds = 0;
};

/// One checkpoint, complete and read again.
struct CheckpointRecord {
  int64_t step = 0;
  std::filesystem::path folder;
  int64_t bytes = 0;
  bool is_best = false;  ///< holds the best evaluated state so far
};

/// Every function does nothing unless overridden. What they throw ends the run between two steps.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_warning(const std::string& message) { static_cast<void>(message); }
  virtual void on_phase(Phase phase) { static_cast<void>(phase); }
  /// During an evaluation: samples done, of how many.
  virtual void on_progress(int64_t done, int64_t total) {
    static_cast<void>(done);
    static_cast<void>(total);
  }
  virtual void on_step(const StepRecord& record) { static_cast<void>(record); }
  virtual void on_evaluation(const EvaluationRecord& record) { static_cast<void>(record); }
  virtual void on_checkpoint(const CheckpointRecord& record) { static_cast<void>(record); }
  /// Asked after each step and each batch of an evaluation.
  virtual Request request() { return Request::none; }
};

}  // namespace graft::train
