// F11: a run goes on from any step as if it had never stopped.
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t steps = 24;

/// A run whose checkpoints all stay.
Arguments complete_run(const fs::path& out, const Arguments& more) {
  return joined(joined(saving_run(out, steps), {"--keep", std::to_string(steps)}), more);
}

}  // namespace

TEST_CASE("F11: resumed after any step, a run ends with the same bytes, in every precision") {
  int64_t resumed = 0;
  for (const Arguments& precision :
       {Arguments{}, Arguments{"--dtype", "bf16"}, Arguments{"--quant", "nf4"}}) {
    CAPTURE(precision.size() == 0 ? "f32" : precision.back());
    const TemporaryFolder scratch;
    const fs::path whole = scratch / "whole", out = scratch / "out";
    check_exit(run_graft(complete_run(whole, precision)), 0);
    REQUIRE(newest_step(whole) == steps);
    for (int64_t step = 1; step < steps; step += rounds(7, 1)) {
      CAPTURE(step);
      fs::remove_all(out);
      copy_up_to(whole, step, out);
      const CommandResult result = run_graft({"train", "--resume", "--out", out});
      check_exit(result, 0);
      check_contains(result.err, concat("continuing after step ", step));
      check_same_run(whole, out);
      ++resumed;
    }
  }
  report("F11", concat(resumed, " runs in f32, bf16 and nf4 resumed after each of ", steps - 1,
                       " steps, or of some, all with the bytes of the unbroken run"));
}
