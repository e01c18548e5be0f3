// TrainView: what a person sees of a running training, and the log it leaves.
//
// On a terminal one line is kept up to date, with a line that stays every now and then; elsewhere
// only the lines that stay are written. Everything goes to stderr.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graft/cli/step_log.h"
#include "graft/cli/terminal.h"
#include "graft/train/observer.h"

namespace graft::cli {

class TrainView final : public train::Observer {
 public:
  struct Options {
    int64_t total_steps = 0;
    int64_t eval_steps = 0;  ///< 0: after the last step only
    bool has_validation = false;
  };
  /// The log must outlive the view.
  TrainView(const Terminal& terminal, StepLog& log, const Options& options);
  ~TrainView() override;

  void on_warning(const std::string& message) override;
  void on_phase(train::Phase phase) override;
  void on_progress(int64_t done, int64_t total) override;
  void on_step(const train::StepRecord& record) override;
  void on_evaluation(const train::EvaluationRecord& record) override;
  void on_checkpoint(const train::CheckpointRecord& record) override;
  /// Asks the run to stop, or to save, once a signal has asked for it.
  train::Request request() override;

  /// Seconds that were spent in steps, without evaluations and saving.
  double training_seconds() const { return training_seconds_; }
  /// Removes the live line.
  void clear_live_line();

 private:
  std::string step_line(const train::StepRecord& record) const;
  /// A line that stays.
  void print(const std::string& line);
  /// The line that is rewritten in place; nothing where nobody watches.
  void show_live(const std::string& line);

  Terminal terminal_;
  StepLog& log_;
  Options options_;
  bool live_ = false;          // a live line is on the screen
  bool log_was_full_ = false;  // said so already
  bool stop_was_said_ = false;
  double seconds_per_step_ = 0;  // smoothed
  double training_seconds_ = 0;
};

}  // namespace graft::cli
