// --isa: the same results but for rounding, on every instruction set this processor has.

#include <nlohmann/json.hpp>

#include "graft/tensor/isa.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;

TEST_CASE("--isa: a run takes the same course on every instruction set of the processor") {
  std::vector<double> expected;
  for (const std::string& isa : available_isas()) {
    CAPTURE(isa);
    const TemporaryFolder folder;
    check_exit(run_graft(joined(short_run(folder / "out"), {"--isa", isa})), 0);
    std::vector<double> losses;
    for (const nlohmann::json& step : steps_of(folder / "out")) {
      if (step.contains("loss"))
        losses.push_back(step["loss"].get<double>());
    }
    REQUIRE(!losses.empty());
    if (expected.empty())
      expected = losses;
    REQUIRE(losses.size() == expected.size());
    for (size_t i = 0; i < losses.size(); ++i)
      CHECK(losses[i] == doctest::Approx(expected[i]).epsilon(1e-5));  // as golden runs: f32
  }
}

TEST_CASE("--isa: a set the processor has not is refused with those it has") {
  const std::vector<std::string> isas = available_isas();
  if (isas.back() == "avx512-bf16")
    return skip("this processor has every instruction set");
  const CommandResult result = run_graft({"doctor", "--isa", "avx512-bf16"});
  check_exit(result, 2);
  check_contains(result.err, "isa: this processor has no 'avx512-bf16', it has portable");
}
