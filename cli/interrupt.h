// SIGINT and SIGTERM as a wish to stop: the handler sets a flag, the work looks at it between
// steps.
#pragma once

#include "graft/cli/exit_code.h"

namespace graft::cli {

/// From here on the first SIGINT, SIGTERM or SIGHUP (unless nohup ignores it) is remembered and a
/// second one ends the process at once; SIGUSR1 asks for a checkpoint. SIGPIPE is left as it is:
/// `graft generate | head` ends quietly.
void watch_signals();

/// Makes a file size limit an error of write(), like a full disk. For every verb.
void survive_file_size_limits();

/// Lets the work go on where nobody reads its output any more.
void survive_broken_pipes();

/// True once a signal has arrived.
bool stop_requested();

/// True once after each SIGUSR1.
bool take_save_request();

/// Forgets a signal that was obeyed, so that the next one is a first one again.
void clear_stop_request();

/// What to exit with after the work was saved: interrupted or terminated. Requires
/// stop_requested().
ExitCode interrupted_exit_code();

}  // namespace graft::cli
