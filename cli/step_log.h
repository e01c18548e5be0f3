// log.jsonl: one JSON object for each optimizer step, appended while the run goes on.
//
//   {"step":1,"loss":2.31,"grad_norm":0.8,"lr":0.0002,"tokens":412,"tokens_per_second":310.5,…}
//
// `tokens` are those with a loss. A step after which the validation data was evaluated also has
// eval_loss, eval_perplexity and eval_tokens. But for times and memory, the log of a run that was
// stopped and continued is that of an unbroken one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "graft/train/observer.h"

namespace graft::cli {

class StepLog {
 public:
  explicit StepLog(std::filesystem::path path) : path_(std::move(path)) {}
  /// Writes what is left, as far as that is possible.
  ~StepLog();
  StepLog(const StepLog&) = delete;
  StepLog& operator=(const StepLog&) = delete;

  /// Opens the log, keeping the lines of steps up to `last_step` and no later ones; 0 keeps none.
  /// The line of `last_step` still takes an evaluation, where it has none. Comes first, once.
  /// Throws IoError, FormatError where a line that is to be kept is no such object.
  void start(int64_t last_step);
  /// Adds a line. With `evaluation_follows` it is held back until that is known.
  void add(const train::StepRecord& record, bool evaluation_follows);
  /// Adds the evaluation to the line of its step, if that was held back or is the last one kept.
  void add(const train::EvaluationRecord& record);
  /// Tries to write all that is pending. False where it cannot now (full disk); later calls try
  /// again.
  bool flush();
  /// Writes all that is pending. Throws IoError.
  void finish();

 private:
  void release_held();

  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t kept_step_ = -1;  // whose line ends the file and has no evaluation yet
  std::string held_;        // a line without its closing brace: an evaluation may follow
  int64_t held_step_ = -1;
  std::string pending_;  // whole lines not in the file yet
};

}  // namespace graft::cli
