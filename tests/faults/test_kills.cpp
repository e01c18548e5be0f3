// F1, F2, F10: a run that is killed or stopped at any moment.
#include <chrono>
#include <csignal>
#include <map>
#include <random>
#include <thread>

#include "graft/tests/faults/faults.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int64_t steps = 24;

/// A finished run that nobody disturbed, and how long it took.
struct Undisturbed {
  explicit Undisturbed(const fs::path& out) : folder(out) {
    const auto start = std::chrono::steady_clock::now();
    check_exit(run_graft(saving_run(folder, steps)), 0);
    duration = std::chrono::steady_clock::now() - start;
  }
  fs::path folder;
  Milliseconds duration{};
};

/// A moment of a run.
Milliseconds moment(std::mt19937& random, Milliseconds duration) {
  return duration * std::uniform_real_distribution<double>(0, 0.8)(random);
}

/// The calls by which a run changes files.
constexpr const char* changing_calls =
    "mkdir,openat,write,fallocate,fsync,rename,renameat2,unlink,unlinkat,rmdir,ftruncate,fchmod";

/// How often a run makes each of them.
std::map<std::string, int64_t> changes_of(const Arguments& arguments) {
  std::map<std::string, int64_t> counts;
  for (const std::string& line : Traced::calls(changing_calls, arguments))
    ++counts[line.substr(0, line.find('('))];
  return counts;
}

}  // namespace

TEST_CASE("F1: killed at random moments, a run that saves every step loses nothing") {
  const TemporaryFolder scratch;
  const Undisturbed whole(scratch / "whole");
  std::mt19937 random(1);
  const int64_t kills = rounds(12, 200);
  int64_t killed = 0, runs = 1;
  fs::path out = scratch / "run-1";
  for (int64_t saved = 0; killed < kills;) {
    RunningCommand command(joined(saving_run(out, steps), {"--resume"}));
    std::this_thread::sleep_for(moment(random, whole.duration));
    command.send(SIGKILL);
    const CommandResult result = command.finish();
    if (result.exit_code == 0) {
      check_same_run(whole.folder, out);
      fs::remove_all(out);
      out = scratch / ("run-" + std::to_string(++runs));
      saved = 0;
      continue;
    }
    check_exit(result, 128 + SIGKILL);
    ++killed;
    const int64_t now = newest_step(out);
    CHECK(now >= saved);
    saved = now;
  }
  check_exit(run_graft(joined(saving_run(out, steps), {"--resume"})), 0);
  check_same_run(whole.folder, out);
  report("F1", concat(killed, " kills in ", runs, " runs, no checkpoint lost or damaged"));
}

TEST_CASE("F2: killed at any system call of a save, the one before or the new one is there") {
  const TemporaryFolder scratch;
  const fs::path whole = scratch / "whole", out = scratch / "out";
  check_exit(run_graft(saving_run(whole, 3)), 0);
  const Arguments go_on = {"train", "--resume", "--out", out};
  copy_up_to(whole, 2, out);
  int64_t killed = 0;
  const int64_t stride = rounds(4, 1);
  for (const auto& [name, count] : changes_of(go_on)) {
    // What a run opens is mostly libraries and inputs.
    for (int64_t number = 1; number <= count; number += name == "openat" ? 3 * stride : stride) {
      CAPTURE(name);
      CAPTURE(number);
      fs::remove_all(out);
      copy_up_to(whole, 2, out);
      check_exit(Traced::injected(name, number, "signal=SIGKILL", go_on), 128 + SIGKILL);
      ++killed;
      CHECK(newest_step(out) >= 2);
      check_exit(run_graft(go_on), 0);
      check_same_run(whole, out);
    }
  }
  CHECK(killed > 10);
  report("F2", concat(killed, " system calls at which a run was killed, nothing lost"));
}

TEST_CASE("F10: SIGTERM at random moments saves the step and is resumed to the byte") {
  const TemporaryFolder scratch;
  const Undisturbed whole(scratch / "whole");
  std::mt19937 random(2);
  const int64_t stops = rounds(6, 50);
  int64_t stopped = 0, before_training = 0;
  for (int64_t round = 0; round < stops; ++round) {
    const fs::path out = scratch / "out";
    fs::remove_all(out);
    RunningCommand command(saving_run(out, steps));
    std::this_thread::sleep_for(moment(random, whole.duration));
    command.send(SIGTERM);
    const CommandResult result = command.finish();
    if (result.exit_code != 0) {  // it was finished already
      // Until the command begins to listen, a signal does what it does to every program: 143 too.
      check_exit(result, 128 + SIGTERM);
      ++stopped;
      before_training += newest_step(out) == 0;
      check_exit(run_graft(joined(saving_run(out, steps), {"--resume"})), 0);
    }
    check_same_run(whole.folder, out);
  }
  report("F10", concat(stopped, " runs stopped by SIGTERM, ", before_training,
                       " of them before the first step, each resumed to the same bytes"));
}
