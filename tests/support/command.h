// Running the built command as a user does: arguments, exit code, stdout and stderr.
//
// The command is the file that the environment variable GRAFT_COMMAND names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

#include "graft/tests/support/test.h"

namespace graft::test {

struct CommandOptions {
  std::filesystem::path program{};                   ///< empty: graft
  std::string input{};                               ///< what stdin holds
  std::map<std::string, std::string> environment{};  ///< added to this process's
  int64_t max_file_bytes = 0;         ///< no file may grow beyond; a full disk. 0: no limit
  std::filesystem::path output{};     ///< what stdout is; empty: a file that is read as `out`
  std::filesystem::path directory{};  ///< where it runs; empty: here
  bool on_terminal = false;  ///< stdout and stderr are a terminal of 80 columns; read as `out`
};

struct CommandResult {
  int exit_code = -1;  ///< 128 + the signal's number where one killed it
  std::string out;
  std::string err;
};

/// The command while it runs.
class RunningCommand {
 public:
  explicit RunningCommand(const std::vector<std::string>& arguments,
                          const CommandOptions& options = {});
  /// Kills it where it still runs.
  ~RunningCommand();
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  /// Waits until a file holds at least so many lines. Fails the test after half a minute.
  void wait_for_lines(const std::filesystem::path& file, int64_t count) const;
  /// The same of what it writes to stderr.
  void wait_for_error_lines(int64_t count) const { wait_for_lines(folder_ / "err", count); }
  /// Waits until a file is there. Fails the test after half a minute.
  void wait_for(const std::filesystem::path& file) const;
  /// How many files, pipes and folders it has open now.
  int64_t open_files() const;
  /// Sends a signal.
  void send(int number) const;
  /// Waits for its end.
  CommandResult finish();

 private:
  void exec_child(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                  const CommandOptions& options) const;

  TemporaryFolder folder_;  // in, out, err
  pid_t process_ = -1;
  int terminal_ = -1;
};

/// Runs `graft` to its end.
CommandResult run_graft(const std::vector<std::string>& arguments,
                        const CommandOptions& options = {});

/// The content of a file.
std::string content_of(const std::filesystem::path& file);
/// Names and contents of all files below a folder; what "untouched" is compared by.
std::map<std::string, std::string> snapshot(const std::filesystem::path& folder);

}  // namespace graft::test
