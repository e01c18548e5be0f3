// What the tests of faults share: a run that saves every step and is disturbed, what has to hold
// afterwards, system calls that fail. docs/reliability.md lists the faults by their numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/tests/workflows/workflow.h"

namespace graft::test {

/// How often a fault is tried: `few` times, or `all` where the tests run in their long form
/// (tools/test --long).
int64_t rounds(int64_t few, int64_t all);

/// Prints what a test went through: "[fault] F1: 200 kills, 0 checkpoints lost". tools/test shows
/// these lines.
void report(const std::string& fault, const std::string& counts);

/// `graft train` for so many steps of a few milliseconds, each of which is saved.
Arguments saving_run(const std::filesystem::path& out, int64_t steps);

/// The newest step that is saved in a run's folder, 0 where none is. Fails the test where a
/// checkpoint is damaged: what has its name was complete.
int64_t newest_step(const std::filesystem::path& out);

/// Fails the test where the two finished runs differ in a byte of their adapter or their optimizer,
/// or in their logs, or where the second has files that are not finished.
void check_same_run(const std::filesystem::path& undisturbed, const std::filesystem::path& run);

/// A copy of a finished run as it was when so many steps were saved: what `--resume` goes on from.
void copy_up_to(const std::filesystem::path& finished, int64_t steps,
                const std::filesystem::path& copy);

/// Arguments for strace, which `options` in command.h takes as its program: graft with these.
struct Traced {
  static constexpr const char* program = "/usr/bin/strace";

  /// The lines that strace writes of the calls (names with a comma between two) that graft's main
  /// thread makes, which is the one that saves. Skips the test case where processes cannot be
  /// traced.
  static std::vector<std::string> calls(const std::string& names, const Arguments& graft);
  /// Runs graft; the main thread's call of that name and number (from 1) gets `what`: an error, as
  /// "error=ENOSPC", or a signal, as "signal=SIGKILL".
  static CommandResult injected(const std::string& name, int64_t number, const std::string& what,
                                const Arguments& graft);
};

}  // namespace graft::test
