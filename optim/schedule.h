// Learning rate schedules, those of transformers: the rate of a step is the base rate times a
// factor that depends on the number of the step alone.
#pragma once

#include <cstdint>
#include <string_view>

namespace graft::optim {

enum class ScheduleKind { constant, linear, cosine };

/// "constant", "linear", "cosine".
std::string_view name(ScheduleKind kind);
/// The kind of that name. Throws ConfigError naming the nearest.
ScheduleKind parse_schedule(std::string_view name);

/// A climb from 0 to 1 over the warm-up steps, then constant 1, or down to 0 at `total_steps` in a
/// line or along half a cosine. With a warm-up the first step has factor 0, as in transformers.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  int64_t warmup_steps = 0;
  int64_t total_steps = 0;  ///< not used by `constant`

  /// The factor of step `step`, counted from 0. 0 from `total_steps` on, but for `constant`.
  double factor(int64_t step) const;
};

}  // namespace graft::optim
