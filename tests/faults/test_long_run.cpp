// F19: a run of many steps takes no more memory and no more files than one of few.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

/// The memory of the process after each step.
std::vector<int64_t> memory_of(const fs::path& out) {
  std::vector<int64_t> bytes;
  std::istringstream lines(content_of(out / "log.jsonl"));
  for (std::string line; std::getline(lines, line);)
    bytes.push_back(nlohmann::json::parse(line)["rss_bytes"]);
  return bytes;
}

/// What the run has open while it is not just writing something.
int64_t files_held(const RunningCommand& command) {
  int64_t fewest = command.open_files();
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    fewest = std::min(fewest, command.open_files());
  }
  return fewest;
}

}  // namespace

TEST_CASE("F19: memory and open files do not grow with the number of steps") {
  const TemporaryFolder scratch;
  const fs::path out = scratch / "out";
  const int64_t steps = rounds(400, 2000);
  Arguments arguments = saving_run(out, steps);
  *std::next(std::find(arguments.begin(), arguments.end(), "--save-steps")) = "50";
  RunningCommand command(joined(arguments, {"--val-split", "0.2", "--eval-steps", "50"}));
  command.wait_for_lines(out / "log.jsonl", steps / 4);
  const int64_t early = files_held(command);
  command.wait_for_lines(out / "log.jsonl", steps * 3 / 4);
  const int64_t late = files_held(command);
  check_exit(command.finish(), 0);
  CHECK(early == late);
  const std::vector<int64_t> memory = memory_of(out);
  REQUIRE(static_cast<int64_t>(memory.size()) == steps);
  const int64_t after_a_quarter = memory[static_cast<size_t>(steps / 4)];
  const double growth =
      static_cast<double>(memory.back() - after_a_quarter) / static_cast<double>(after_a_quarter);
  CHECK(growth < 0.01);
  report("F19", concat(steps, " steps: memory grew by ", growth * 100, " %, ", late,
                       " files open throughout"));
}
