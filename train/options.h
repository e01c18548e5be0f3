// TrainOptions: the settings of a training run, parsed once by whoever runs it.
#pragma once

#include <cstdint>

#include "graft/optim/schedule.h"
#include "graft/text/sample_source.h"
#include "graft/train/rows.h"

namespace graft::train {

struct TrainOptions {
  int64_t batch_size =
      4;  ///< rows, which are samples without packing, of a micro-batch: one forward and backward
  int64_t grad_accum = 1;  ///< micro-batches of an optimizer step
  /// Optimizer steps of the whole run, 0 for as many as `epochs` needs.
  int64_t max_steps = 0;
  /// Passes over the data; 1.5 stops in the middle of the second. Not used where max_steps is
  /// given.
  double epochs = 1;

  optim::ScheduleKind lr_schedule = optim::ScheduleKind::cosine;
  int64_t warmup_steps = 0;
  /// Share of all steps, rounded up; not used where warmup_steps is given.
  double warmup_ratio = 0;
  double max_grad_norm = 1;  ///< 0: no clipping

  int64_t eval_steps = 0;       ///< evaluate every so many steps; 0: after the last one only
  int64_t eval_batch_size = 0;  ///< 0: as batch_size. Changes memory and speed only
  /// Stop after so many evaluations in a row without a lower loss; 0: never. Needs eval_steps.
  int64_t early_stop = 0;
  /// The result is the best evaluated state instead of the last one. Needs evaluations and a
  /// CheckpointStore: each state that is better than all before it is saved.
  bool keep_best = false;
  int64_t save_steps = 0;  ///< save every so many steps; 0: after the last one only

  uint64_t seed = 0;  ///< of the order of samples and of dropout
  bool shuffle = true;
  /// Packing: samples share rows of up to so many tokens, and `batch_size` counts rows; 0: each
  /// sample has a row of its own. No sample may be longer.
  int64_t row_tokens = 0;
  /// Keep only the input of each block and run it again in backward: less memory, about a third
  /// more time, the same bits.
  bool gradient_checkpointing = false;
};

/// The rows of a run. Throws ConfigError as Rows::packed does.
Rows rows_of(const text::Samples& samples, const TrainOptions& options);

/// Optimizer steps of one epoch: ceil(rows / (batch_size · grad_accum)). A step never reaches over
/// the end of an epoch; its last step takes the rows that are left.
int64_t steps_per_epoch(const TrainOptions& options, int64_t rows);
/// Optimizer steps of the whole run.
int64_t total_steps(const TrainOptions& options, int64_t rows);
/// Warm-up steps of the whole run.
int64_t warmup_steps(const TrainOptions& options, int64_t total_steps);

/// Throws ConfigError where an option is out of its range or contradicts another one. `rows` and
/// `validation_samples` are what the run is given.
void check_options(const TrainOptions& options, int64_t rows, int64_t validation_samples);

}  // namespace graft::train
