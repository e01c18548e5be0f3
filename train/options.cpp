#include "graft/train/options.h"

#include <cmath>

#include "graft/tensor/error.h"

namespace graft::train {
namespace {

int64_t ceil_to_int(double value) {
  return static_cast<int64_t>(std::ceil(value));
}

void check_at_least(std::string_view name, int64_t value, int64_t least) {
  GRAFT_CHECK(value >= least, ConfigError, "train: ", name, " is ", value, ", at least ", least,
              " expected");
}

}  // namespace

Rows rows_of(const text::Samples& samples, const TrainOptions& options) {
  return options.row_tokens > 0 ? Rows::packed(samples, options.row_tokens)
                                : Rows::one_each(samples.size());
}

int64_t steps_per_epoch(const TrainOptions& options, int64_t rows) {
  const int64_t per_step = options.batch_size * options.grad_accum;
  return rows / per_step + (rows % per_step != 0);
}

int64_t total_steps(const TrainOptions& options, int64_t rows) {
  if (options.max_steps > 0)
    return options.max_steps;
  return ceil_to_int(options.epochs * static_cast<double>(steps_per_epoch(options, rows)));
}

int64_t warmup_steps(const TrainOptions& options, int64_t total_steps) {
  if (options.warmup_steps > 0)
    return options.warmup_steps;
  return ceil_to_int(options.warmup_ratio * static_cast<double>(total_steps));
}

void check_options(const TrainOptions& options, int64_t rows, int64_t validation_samples) {
  check_at_least("batch_size", options.batch_size, 1);
  check_at_least("grad_accum", options.grad_accum, 1);
  check_at_least("max_steps", options.max_steps, 0);
  check_at_least("warmup_steps", options.warmup_steps, 0);
  check_at_least("eval_steps", options.eval_steps, 0);
  check_at_least("eval_batch_size", options.eval_batch_size, 0);
  check_at_least("early_stop", options.early_stop, 0);
  check_at_least("save_steps", options.save_steps, 0);
  check_at_least("row_tokens", options.row_tokens, 0);
  // The limit keeps the product with the batch size in range; nobody's machine holds such a batch.
  constexpr int64_t largest = int64_t{1} << 30;
  GRAFT_CHECK(options.batch_size <= largest && options.grad_accum <= largest, ConfigError,
              "train: batch_size ", options.batch_size, " with grad_accum ", options.grad_accum,
              " given, at most ", largest, " each expected");
  GRAFT_CHECK(options.max_steps > 0 || (options.epochs > 0 && options.epochs <= 1e6), ConfigError,
              "train: epochs is ", options.epochs, ", a number above 0 and up to 1e6 expected");
  GRAFT_CHECK(options.warmup_ratio >= 0 && options.warmup_ratio <= 1, ConfigError,
              "train: warmup_ratio is ", options.warmup_ratio, ", a number in [0, 1] expected");
  GRAFT_CHECK(options.max_grad_norm >= 0, ConfigError, "train: max_grad_norm is ",
              options.max_grad_norm, ", at least 0 expected (0: no clipping)");
  const int64_t steps = total_steps(options, rows);
  GRAFT_CHECK(warmup_steps(options, steps) <= steps, ConfigError,
              "train: ", warmup_steps(options, steps), " warm-up steps given for a run of ", steps);
  GRAFT_CHECK(options.eval_steps == 0 || validation_samples > 0, ConfigError,
              "train: eval_steps is ", options.eval_steps, " but there is no validation data");
  GRAFT_CHECK(options.early_stop == 0 || options.eval_steps > 0, ConfigError,
              "train: early_stop is ", options.early_stop,
              " but eval_steps is not set, so there is nothing to stop for");
  GRAFT_CHECK(!options.keep_best || validation_samples > 0, ConfigError,
              "train: keep_best is set but there is no validation data to tell what is best");
}

}  // namespace graft::train
