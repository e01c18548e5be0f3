// graft data stats.
#pragma once

#include "graft/cli/data_verb.h"
#include "graft/cli/exit_code.h"

namespace graft::cli {

/// Prints the lengths of the samples, what is cut or dropped and why, and how many steps they make.
ExitCode data_stats(const DataVerb& verb);

}  // namespace graft::cli
