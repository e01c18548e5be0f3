#include <cmath>
#include <limits>

#include "graft/tests/support/test.h"
#include "graft/train/options.h"

namespace graft::train {
namespace {

std::string refusal(const TrainOptions& options, int64_t samples = 10, int64_t validation = 0) {
  return test::message_of<ConfigError>([&] { check_options(options, samples, validation); });
}

}  // namespace

TEST_CASE("options: an epoch's last step takes what is left, and epochs may be fractions") {
  const TrainOptions options{.batch_size = 4, .grad_accum = 2};
  CHECK(steps_per_epoch(options, 16) == 2);
  CHECK(steps_per_epoch(options, 17) == 3);
  CHECK(steps_per_epoch(options, 1) == 1);
  CHECK(total_steps({.batch_size = 4, .epochs = 3}, 9) == 9);
  CHECK(total_steps({.batch_size = 4, .epochs = 1.5}, 9) == 5);
  CHECK(total_steps({.batch_size = 4, .max_steps = 7, .epochs = 3}, 9) == 7);
}

TEST_CASE("options: a warm-up ratio is rounded up, and a count goes first") {
  CHECK(warmup_steps({.warmup_ratio = 0.03}, 100) == 3);
  CHECK(warmup_steps({.warmup_ratio = 0.03}, 101) == 4);
  CHECK(warmup_steps({.warmup_steps = 5, .warmup_ratio = 0.5}, 100) == 5);
  CHECK(warmup_steps({}, 100) == 0);
}

TEST_CASE("options: what is out of range or contradicts itself is refused by name") {
  check_options({}, 10, 0);
  test::check_contains(refusal({.batch_size = 0}), "batch_size is 0, at least 1 expected");
  test::check_contains(refusal({.grad_accum = 0}), "grad_accum is 0, at least 1 expected");
  test::check_contains(
      refusal({.batch_size = std::numeric_limits<int64_t>::max(), .grad_accum = 2}),
      "at most 1073741824 each");
  test::check_contains(refusal({.max_steps = -1}), "max_steps is -1");
  test::check_contains(refusal({.epochs = 0}), "epochs is 0");
  test::check_contains(refusal({.epochs = std::nan("")}), "epochs is nan");
  test::check_contains(refusal({.max_steps = 5, .warmup_steps = 6}),
                       "6 warm-up steps given for a run of 5");
  test::check_contains(refusal({.warmup_ratio = 1.5}), "warmup_ratio is 1.5");
  test::check_contains(refusal({.max_grad_norm = -1}), "max_grad_norm is -1");
  test::check_contains(refusal({.eval_steps = 2}), "there is no validation data");
  test::check_contains(refusal({.early_stop = 2}, 10, 5), "eval_steps is not set");
  test::check_contains(refusal({.keep_best = true}), "there is no validation data");
  test::check_contains(refusal({.save_steps = -1}), "save_steps is -1");
}

}  // namespace graft::train
