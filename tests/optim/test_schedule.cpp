#include <nlohmann/json.hpp>

#include "graft/optim/schedule.h"
#include "graft/tests/optim/golden.h"
#include "graft/tests/support/test.h"

namespace graft::optim {

TEST_CASE("schedules: the learning rates are transformers'") {
  const Golden golden;
  const int64_t steps = golden.records()["steps"];
  const double base = golden.records()["base_learning_rate"];
  for (const auto& record : golden.records()["schedules"]) {
    const std::string kind = record["schedule"];
    const Schedule schedule{
        .kind = kind == "constant_with_warmup" ? ScheduleKind::constant : parse_schedule(kind),
        .warmup_steps = record["warmup_steps"],
        .total_steps = steps};
    for (int64_t step = 0; step < steps; ++step) {
      const double expected = record["learning_rates"][static_cast<size_t>(step)];
      // Two products in f64, and a cosine that may differ in its last bit.
      CHECK_MESSAGE(std::fabs(base * schedule.factor(step) - expected) <= 1e-15 * base, kind,
                    " step ", step);
    }
  }
}

TEST_CASE("schedules: all but the constant one end at 0 and stay there") {
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine}) {
    const Schedule schedule{.kind = kind, .warmup_steps = 2, .total_steps = 10};
    CHECK(schedule.factor(9) > 0);
    CHECK(schedule.factor(10) == 0);
    CHECK(schedule.factor(15) == 0);
  }
  CHECK(Schedule{.kind = ScheduleKind::constant}.factor(1000) == 1);
}

TEST_CASE("schedules: names go both ways, and an unknown one names the nearest") {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine})
    CHECK(parse_schedule(name(kind)) == kind);
  test::check_contains(test::message_of<ConfigError>([] { parse_schedule("cosin"); }),
                       "(did you mean 'cosine'?)");
}

}  // namespace graft::optim
