#include "graft/optim/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "graft/tensor/error.h"

namespace graft::optim {
namespace {

const std::array<std::string, 3> names{"constant", "linear", "cosine"};

double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(whole, 1));
}

}  // namespace

std::string_view name(ScheduleKind kind) {
  return names[static_cast<size_t>(kind)];
}

ScheduleKind parse_schedule(std::string_view name) {
  const auto it = std::ranges::find(names, name);
  GRAFT_CHECK(it != names.end(), ConfigError, "schedule: '", name,
              "' given; constant, linear or cosine expected", did_you_mean(name, names));
  return static_cast<ScheduleKind>(it - names.begin());
}

double Schedule::factor(int64_t step) const {
  if (step < warmup_steps)
    return ratio(step, warmup_steps);
  if (kind == ScheduleKind::constant)
    return 1;
  if (step >= total_steps)
    return 0;
  if (kind == ScheduleKind::linear)
    return ratio(total_steps - step, total_steps - warmup_steps);
  const double progress = ratio(step - warmup_steps, total_steps - warmup_steps);
  return 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

}  // namespace graft::optim
