// What the command says to the shell when it ends: one place maps errors to exit codes.
#pragma once

#include <exception>

namespace graft::cli {

/// The exit codes of every verb, as docs/command.md lists them.
enum class ExitCode : int {
  done = 0,
  internal = 1,    ///< a fault of graft itself
  usage = 2,       ///< a flag or setting is wrong, or contradicts the model
  bad_input = 3,   ///< a file or a record has the wrong content
  io = 4,          ///< the operating system could not read or write; a full disk
  non_finite = 5,  ///< a loss or gradient became NaN or infinite
  out_of_memory = 6,
  interrupted = 130,  ///< SIGINT, after the work so far was saved
  terminated = 143,   ///< SIGTERM or SIGHUP, after the work so far was saved
};

/// The exit code of an error that ended a verb.
ExitCode exit_code_of(const std::exception& error);

}  // namespace graft::cli
